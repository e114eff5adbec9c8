"""Looks at every file and sentence of a data set and reports what is wrong, without stopping at the first."""

import hashlib
import multiprocessing
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ftfy import fix_encoding

from rs2sam2.datasets.base import RefSegDataset
from rs2sam2.datasets.images import read_picture
from rs2sam2.datasets.transforms import LoadReferringMask
from rs2sam2.errors import DataError, RefSegError, TokenizerError, TurnError
from rs2sam2.signals import end_by_signals
from rs2sam2.symmetry import SYMMETRIES
from rs2sam2.text.directions import turn

PROBLEMS = {
    'unreadable split': 'the files of a split cannot be read, so nothing in it was checked',
    'bad entry': 'a line, ref or annotation that cannot be used: training stops at the first',
    'wrong count': 'a split has another number of samples than published',
    'id twice': 'two samples of a split have one id',
    'empty expression': 'a sample without words',
    'bad sentence': 'a sentence that the tokenizer or the model refuses',
    'bad image': 'an image that is missing, truncated or cannot be decoded',
    'bad mask': 'a mask that is missing or cannot be decoded, or that does not fit its image',
    'image in two splits': 'equal pixels in two splits: the test is not independent',
    'does not start': 'what stops a training or a test when it builds this data set or takes its first sample',
}
"""What makes a data set unfit; any of it gives the exit code 1."""
NOTES = {
    'skipped': 'samples that skip_ids leaves out',
    'turned by EXIF': 'an image that is read upright, as viewers show it: masks made on the stored pixels do not fit',
    'other size': 'a mask of another size than its image (each is resized by itself)',
    'empty mask': 'a mask without a pixel, of a sentence that is not marked no_target',
    'unknown word': 'a word with a piece that the tokenizer does not know',
    'damaged text': 'letters garbled by a wrong encoding (mojibake), as ftfy sees it; nothing is rewritten',
    'not turned': 'sentences that cannot be turned with their image by every symmetry, by reason (RandomTurn)',
}
"""What one should know; RRSIS-D has some of it, and its published numbers include it."""


class WordTokenizer(Protocol):
    """Text to ids, with the id of what it does not know; None where it knows every text."""

    @property
    def unk_id(self) -> int | None:
        """Id of an unknown piece."""
        ...

    def __call__(self, text: str) -> list[int]:
        """Tokenize one expression."""
        ...


@dataclass
class CheckReport:
    """What was found.

    Attributes:
        splits: by name: `samples`, `images`, `no_target`, `published` (number of samples, or None), `turned` (share of
            the sentences that turn by each symmetry).
        findings: by a key of `PROBLEMS` or `NOTES`: one text a finding.
    """

    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def fit(self) -> bool:
        """Whether there is no problem; notes do not count."""
        return not any(self.findings.get(kind) for kind in PROBLEMS)

    def as_json(self) -> dict:
        """Everything, for a JSON file."""
        found = {kind: self.findings[kind] for kind in (*PROBLEMS, *NOTES) if self.findings.get(kind)}
        return dict(fit=self.fit, splits=self.splits, findings=found)


@dataclass(frozen=True)
class _Image:
    """An image with its samples; `check` is the data set's own."""

    split: str
    path: str
    samples: list[dict]
    check: Callable[[dict, tuple[int, int]], None]


@dataclass(frozen=True)
class _Looked:
    split: str
    path: str
    digest: str | None
    found: list[tuple[str, str]]


def check_datasets(
    datasets: dict[str, RefSegDataset],
    tokenizer: WordTokenizer | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    sentences: Mapping[str, Sequence[Callable[[dict], object]]] | None = None,
) -> CheckReport:
    """Check the splits of a data set.

    Every file is read by what training reads it with, and every problem is told, not the first alone.

    Args:
        datasets: By name, not yet initialised (`lazy_init=True`).
        tokenizer: Of training; None checks no words.
        workers: Processes that open the files.
        progress: Is called with (images done, images in all).
        sentences: By name of a data set, what training does with a sample's sentence; raises `RefSegError`.

    Returns:
        What was found.
    """
    report = CheckReport()
    images: list[_Image] = []
    words: Counter = Counter()
    for split, dataset in datasets.items():
        dataset.on_problem = lambda error, split=split: report.findings['bad entry'].append(f'{split}: {error}')
        try:
            samples, known = dataset.read_samples()
        except DataError as error:
            report.findings['unreadable split'].append(f'{split}: {error}')
            continue
        with dataset.entry():
            dataset.check_skip_ids(known)
        # What the data set drops is not trained on.
        used = [sample for sample in samples if dataset.no_target == 'keep' or not sample['no_target']]
        if samples and not used:
            report.findings['wrong count'].append(
                f'{split}: all sentences mean nothing in their image, and are dropped'
            )
        by_path = defaultdict(list)
        for sample in samples:
            by_path[sample['img_path']].append(sample)
        images += [_Image(split, path, members, dataset.check_sample) for path, members in by_path.items()]
        _count(report, split, dataset, samples, len(by_path))
        _read_sentences(report, split, samples, words)
        for step in (sentences or {}).get(split, ()):
            _try_sentences(report, split, used, step)
        _turn_sentences(report, split, samples)
    if tokenizer is not None:
        for word, count in words.items():
            try:
                unknown = tokenizer.unk_id in tokenizer(word)
            except TokenizerError:
                unknown = True
            if unknown:
                report.findings['unknown word'].append(f'{word!r} in {count:,} sentences')
    seen = defaultdict(list)
    for done, looked in enumerate(_look_at_all(images, workers), 1):
        for kind, text in looked.found:
            report.findings[kind].append(f'{looked.split}: {text}')
        if looked.digest:
            seen[looked.digest].append(looked)
        if progress is not None:
            progress(done, len(images))
    for equals in seen.values():
        if len({one.split for one in equals}) > 1:
            text = ' = '.join(
                f'{one.split}: {one.path}' for one in sorted(equals, key=lambda one: (one.split, one.path))
            )
            report.findings['image in two splits'].append(text)
    return report


def _count(report: CheckReport, split: str, dataset: RefSegDataset, samples: list[dict], images: int) -> None:
    published = dataset.metainfo.get('split_counts', {}).get(dataset.split)
    no_target = sum(sample['no_target'] for sample in samples)
    report.splits[split] = dict(samples=len(samples), images=images, no_target=no_target, published=published)
    if dataset.skip_ids:
        report.findings['skipped'].append(f'{split}: {", ".join(sorted(dataset.skip_ids))}')
    if not samples or (published and len(samples) != published and not dataset.skip_ids):
        expected = f'{published:,} published' if published else 'none usable'
        report.findings['wrong count'].append(f'{split}: {len(samples):,} samples, {expected}')


def _read_sentences(report: CheckReport, split: str, samples: list[dict], words: Counter) -> None:
    twice = [key for key, count in Counter(sample['sample_id'] for sample in samples).items() if count > 1]
    report.findings['id twice'] += [f'{split}: {key}' for key in twice]
    for sample in samples:
        text = sample['expression']
        if not text.strip():
            report.findings['empty expression'].append(f'{split}: sample {sample["sample_id"]}')
        mended = fix_encoding(text)
        if mended != text:
            report.findings['damaged text'].append(
                f'{split}: sample {sample["sample_id"]}: {text!r} reads like {mended!r}'
            )
        words.update(set(text.split()))


def _turn_sentences(report: CheckReport, split: str, samples: list[dict]) -> None:
    counts = Counter(sample['expression'] for sample in samples)
    turned = dict.fromkeys(SYMMETRIES, 0)
    refused: dict[str, list[str]] = defaultdict(list)
    for sentence, count in counts.items():
        for element in SYMMETRIES:
            try:
                turn(sentence, element)
                turned[element] += count
            except TurnError as error:
                refused[error.reason].append(sentence)
    report.splits[split]['turned'] = {element: count / max(len(samples), 1) for element, count in turned.items()}
    for reason, sentences in sorted(refused.items()):
        some = list(dict.fromkeys(sentences))
        report.findings['not turned'].append(
            f'{split}: {sum(counts[one] for one in some):,} sentences: {reason}, such as {some[0]!r}'
        )


def _try_sentences(report: CheckReport, split: str, samples: list[dict], step: Callable[[dict], object]) -> None:
    for sample in samples:
        if not sample['expression'].strip():
            continue  # told as an empty expression
        try:
            step(sample)
        except RefSegError as error:
            report.findings['bad sentence'].append(f'{split}: {error}')


def _look_at_all(images: list[_Image], workers: int) -> Iterator[_Looked]:
    if workers <= 1:
        yield from map(_look_at, images)
        return
    with multiprocessing.get_context().Pool(workers, end_by_signals) as pool:
        yield from pool.imap(_look_at, images, chunksize=8)


def _look_at(image: _Image) -> _Looked:
    """Open an image and decode the masks of its samples."""
    try:
        picture = read_picture(image.path, 'RGB')
    except DataError as error:
        return _Looked(image.split, image.path, None, [('bad image', str(error))])
    size = picture.pixels.shape[:2]
    digest = hashlib.blake2b(repr(size).encode() + picture.pixels.tobytes(), digest_size=16).hexdigest()
    found = [('turned by EXIF', f'{image.path}: orientation {picture.orientation}')] * (picture.orientation != 1)
    found += [one for members in _by_object(image.samples) for one in _look_at_mask(members, size, image.check)]
    return _Looked(image.split, image.path, digest, found)


def _by_object(samples: list[dict]) -> Iterable[list[dict]]:
    """The samples of one mask: sentences about the same object."""
    objects = defaultdict(list)
    for sample in samples:
        objects[repr(sample['ann_id'])].append(sample)
    return objects.values()


def _look_at_mask(
    samples: list[dict], size: tuple[int, int], check: Callable[[dict, tuple[int, int]], None]
) -> Iterator[tuple[str, str]]:
    first = samples[0]
    name = f'sample {first["sample_id"]}' + (f' and {len(samples) - 1} more of its object' if samples[1:] else '')
    try:
        check(first, size)
        mask = LoadReferringMask().transform(dict(first, ori_shape=size))['gt_seg_map']
    except DataError as error:
        yield 'bad mask', str(error)
        return
    if mask.shape != size:
        yield 'other size', f'{name}: mask {list(mask.shape)}, image {list(size)} (h, w)'
    if not mask.any() and not first['no_target']:
        yield 'empty mask', name
