"""Which predicted mask is for which sample: by id, by ref and sentence, or by the image where it has one sentence."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from rs2sam2.datasets.foreign_masks import ForeignMask
from rs2sam2.errors import DataError

Names = Mapping[str, str | None]


def match_masks(
    masks: Sequence[ForeignMask],
    samples: Sequence[dict],
    source: str,
    others: Callable[[], Mapping[str, Sequence[dict]]] = dict,
) -> dict[str, ForeignMask]:
    """Give every sample its mask.

    A name is looked for, in this order, as a sample's id; as `<ref>` or `<ref>/<k>`, `<ref>_<k>`, `<ref>-<k>` with the
    number k of the sentence from 0; as either with its leading zeros dropped; and as the stem of the image's file name,
    where the image has one sample. A name that could mean two samples means none.

    Args:
        masks: the predictions.
        samples: of the split that is scored.
        source: what the masks were read from, for messages.
        others: gives the samples of the other splits, by name; asked only where a mask has no sample.

    Returns:
        Masks by sample id, in the order of `masks`.

    Raises:
        DataError: a sample has no mask, or two; or a mask has no sample.
    """
    tables = _tables(samples)
    found: dict[str, ForeignMask] = {}
    for mask in masks:
        sample_id = _look_up(mask.name, tables)
        if sample_id is None:
            raise DataError(_surplus(mask, masks, tables, others))
        if sample_id in found:
            raise DataError(
                f'sample {sample_id!r} has two masks, {found[sample_id].where} and {mask.where}; keep one of them '
                '(unite the masks of several objects)'
            )
        found[sample_id] = mask
    missing = [sample['sample_id'] for sample in samples if sample['sample_id'] not in found]
    if missing:
        shown = ', '.join(map(repr, missing[:5])) + (', ...' if len(missing) > 5 else '')
        raise DataError(
            f'{source} has no mask for {len(missing):,} of {len(samples):,} samples ({shown}); write one for every '
            'sample, an empty one where nothing was found'
        )
    return found


def check_sizes(sizes: Mapping[str, tuple[tuple[int, int], tuple[int, int]]], masks: Mapping[str, ForeignMask]) -> str:
    """Look whether all masks have the size of their ground truth, or all one size.

    Args:
        sizes: by sample id, (h, w) of the mask and of its ground truth.
        masks: the predictions, by sample id.

    Returns:
        Their size, in words.

    Raises:
        DataError: one is of another size than the others.
    """
    if all(size == truth for size, truth in sizes.values()):
        return "the ground truth's own size"
    ((common, count),) = Counter(size for size, _ in sizes.values()).most_common(1)
    native = sum(size == truth for size, truth in sizes.values())
    odd = next((one for one, (size, truth) in sizes.items() if size != (truth if native >= count else common)), None)
    if odd is not None:
        (height, width), truth = sizes[odd]
        rule = f'{common[0]} x {common[1]} as {count:,} of {len(sizes):,} are'
        if native >= count:
            rule = f'{truth[0]} x {truth[1]}, where {native:,} of {len(sizes):,} have the size of their ground truth'
        raise DataError(
            f'{masks[odd].where}: the mask of sample {odd!r} is {height} x {width} (h x w), not {rule}; write all at '
            'the size of their ground truth, or all at one size'
        )
    return f'{common[0]} x {common[1]} pixels'


def _tables(samples: Sequence[dict]) -> list[Names]:
    ids = {sample['sample_id']: sample['sample_id'] for sample in samples}
    refs = _unambiguous((f'{ref}{mark}{k}', one) for one in ids for ref, k in [_sentence(one, ids)] for mark in '/_-')
    short = [_unambiguous((_short(name), one) for name, one in table.items() if one) for table in (ids, refs)]
    images = _unambiguous((Path(sample['img_path']).stem, sample['sample_id']) for sample in samples)
    return [ids, refs, *short, images]


def _sentence(sample_id: str, ids: Mapping[str, str]) -> tuple[str, str]:
    """Ref and number of the sentence: data sets call a sample `<ref>`, or `<ref>_<k>` where the ref has several."""
    ref, mark, number = sample_id.rpartition('_')
    several = mark and number.isdigit() and f'{ref}_{1 if number == "0" else 0}' in ids
    return (ref, number) if several else (sample_id, '0')


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> Names:
    table: dict[str, str | None] = {}
    for name, sample_id in pairs:
        table[name] = sample_id if table.get(name, sample_id) == sample_id else None
    return table


def _short(name: str) -> str:
    """Numbers in a name without leading zeros: RRSIS-D's image of ref 7 is 00007.jpg."""
    parts = name.replace('-', '_').replace('/', '_').split('_')
    return '_'.join(part.lstrip('0') or '0' if part.isdigit() else part for part in parts)


def _look_up(name: str, tables: Sequence[Names]) -> str | None:
    ids, refs, short_ids, short_refs, images = tables
    for table, key in (
        (ids, name),
        (refs, name),
        (short_ids, _short(name)),
        (short_refs, _short(name)),
        (images, name),
    ):
        if (sample_id := table.get(key)) is not None:
            return sample_id
    return None


def _surplus(
    mask: ForeignMask,
    masks: Sequence[ForeignMask],
    tables: Sequence[Names],
    others: Callable[[], Mapping[str, Sequence[dict]]],
) -> str:
    count = sum(_look_up(one.name, tables) is None for one in masks)
    split = next((name for name, samples in others().items() if _look_up(mask.name, _tables(samples))), None)
    of_other = f': it is of split {split!r}' if split else ', in no split'
    return (
        f'{mask.where}: no sample is called {mask.name!r} here{of_other}; {count:,} of {len(masks):,} masks have no '
        'sample; name them by sample id, or by ref and number of the sentence from 0 (<ref>_<k>), one split at a time'
    )
