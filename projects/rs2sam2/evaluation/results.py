"""Results of single samples: their type, their JSON-lines file, the metrics and intervals computed from them."""

import math
import os
import tempfile
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import get_type_hints

import numpy as np

from rs2sam2.errors import ConfigError, DataError
from rs2sam2.files import open_regular, place_of
from rs2sam2.json_text import json_line, parse_json

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""IoU thresholds of Pr@t."""
METRICS = (*(f'Pr@{t}' for t in THRESHOLDS), 'oIoU', 'mIoU')
"""Names of the metrics, in the order of the published tables."""
GENERALIZED_METRICS = ('gIoU', 'cIoU', 'N-acc', 'T-acc')
"""Names of the metrics for sets with sentences that mean nothing (GRES, arXiv 2306.00968, section 5)."""


@dataclass(frozen=True, slots=True)
class SampleResult:
    """What one sentence scored.

    Attributes:
        sample_id: unique in the data set.
        img_path: path of the image, or None.
        expression: the referring expression.
        category: class name of the target, or None.
        no_target: True for a sentence that means nothing in its image.
        protocol: at which size the pixels were counted (`published_1024`, `native`, `480x480` ...).
        intersection: pixels in both the prediction and the ground truth.
        union: pixels in either.
        iou: intersection / union, 0 where the union is empty.
        target_share: area of the ground truth / area of the image, in [0, 1].
        pred_iou: SAM2's own estimate of the IoU, None when it was never trained.
        presence: probability that the target is there, None when it was never trained.
        empty_prediction: whether the prediction is empty, at the size of the protocol.
        precision: what the model computed in, 'fp32', 'bf16' or 'fp16'; None where the file does not say.
        averaged_over: symmetries of the copies that test-time augmentation averaged, blanks between; None without it.
        mask: the prediction whose pixels were counted, at the protocol's size, as COCO's compressed RLE; None where no
            file of results was asked for, and in older ones.
        target: the ground truth, likewise.
    """

    sample_id: str
    img_path: str | None
    expression: str
    category: str | None
    no_target: bool
    protocol: str
    intersection: int
    union: int
    iou: float
    target_share: float
    pred_iou: float | None = None
    presence: float | None = None
    empty_prediction: bool | None = None
    precision: str | None = None
    averaged_over: str | None = None
    mask: dict | None = field(default=None, hash=False)
    target: dict | None = field(default=None, hash=False)


_TYPES = get_type_hints(SampleResult)
# Older files lack them.
_OPTIONAL = ('precision', 'averaged_over', 'mask', 'target')


def _parse(line: str) -> SampleResult:
    """One line of a results file; raises ValueError saying what is wrong with it."""
    try:
        row = parse_json(line)
    except ValueError as error:
        raise ValueError(f'not JSON ({error})') from None
    if not isinstance(row, dict):
        raise ValueError('not a JSON object')
    for name, kind in _TYPES.items():
        if name in _OPTIONAL:
            row.setdefault(name, None)
        if name not in row:
            raise ValueError(f'`{name}` is missing')
        value = row[name]
        # JSON writers drop the point of 1.0, and Python counts True as an integer; only the first is welcome.
        accepted = kind | int if kind in (float, float | None) else kind
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind not in (bool, bool | None)):
            raise ValueError(f'`{name}` is {value!r:.80}, not {getattr(kind, "__name__", kind)}')
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f'`{name}` is {value}, not a finite number')
    unknown = sorted(set(row) - set(_TYPES))
    if unknown:
        raise ValueError(f'unknown field `{unknown[0]}`')
    if not 0 <= row['intersection'] <= row['union']:
        raise ValueError(f'an intersection of {row["intersection"]} pixels in a union of {row["union"]}')
    if abs(row['iou'] - iou(row['intersection'], row['union'])) > 1e-9:
        raise ValueError(f'`iou` is {row["iou"]}, but intersection / union is not')
    return SampleResult(**row)


def iou(intersection: int, union: int) -> float:
    """Intersection over union; 0 where the union is empty, as published."""
    return intersection / union if union else 0.0


def check_unique(rows: Iterable[SampleResult], where: str) -> None:
    """Raise a DataError when two results carry the same `sample_id`; `where` names their source."""
    seen = set()
    for row in rows:
        if row.sample_id in seen:
            raise DataError(f'{where}: sample id {row.sample_id!r} occurs twice; every sentence needs an id of its own')
        seen.add(row.sample_id)


def write_results(rows: Iterable[SampleResult], path: str | Path) -> None:
    """Write one JSON object a line; the file appears whole or not at all.

    Raises:
        DataError: the file cannot be written.
        ConfigError: the path is that of a folder or a device.
    """
    path = place_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
        try:
            with os.fdopen(handle, 'wb') as file:
                file.writelines(json_line(asdict(row)) for row in rows)
            umask = os.umask(0)
            os.umask(umask)
            # mkstemp makes files for their owner only; results are read by others.
            os.chmod(temporary, 0o666 & ~umask)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise DataError(f'{path}: results cannot be written ({error.strerror})') from error
    except ValueError as error:
        raise DataError(f'{path}: results that are no finite numbers are not written ({error})') from error


def read_results(path: str | Path) -> list[SampleResult]:
    """Read what `write_results` wrote.

    Raises:
        DataError: the file cannot be read, has no rows, repeats a sample id, or a line is wrong (named by file:line).
    """
    path = Path(path)
    rows = []
    try:
        with open_regular(path, 'rb') as file:
            for number, line in enumerate(file, 1):
                try:
                    rows.append(_parse(line))
                except ValueError as error:
                    raise DataError(f'{path}:{number}: {error}; write the file again with tools/test.py') from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path}: results cannot be read ({error})') from error
    if not rows:
        raise DataError(f'{path}: no results in it')
    check_unique(rows, str(path))
    return rows


def _ratio(rows: Sequence[SampleResult], statistic: str) -> tuple[np.ndarray, np.ndarray]:
    """Every metric is a ratio of two sums over the samples: its summands, (n,) numerators and (n,) denominators."""
    ious = np.array([row.iou for row in rows], dtype=np.float64)
    if statistic == 'oIoU':
        return np.array([row.intersection for row in rows]), np.array([row.union for row in rows])
    if statistic == 'mIoU':
        return ious, np.ones(len(rows), dtype=np.int64)
    if statistic in GENERALIZED_METRICS:
        return _generalized_ratio(rows, statistic)
    if statistic in METRICS:
        return (ious >= float(statistic.removeprefix('Pr@'))).astype(np.int64), np.ones(len(rows), dtype=np.int64)
    raise ConfigError(f'no metric is called {statistic!r}; there are {", ".join((*METRICS, *GENERALIZED_METRICS))}')


def _generalized_ratio(rows: Sequence[SampleResult], statistic: str) -> tuple[np.ndarray, np.ndarray]:
    nothing = np.array([row.no_target for row in rows])
    empty = np.array([bool(row.empty_prediction) for row in rows])
    if statistic == 'gIoU':
        ious = np.array([row.iou for row in rows], dtype=np.float64)
        return np.where(nothing, empty, ious).astype(np.float64), np.ones(len(rows), dtype=np.int64)
    if statistic == 'cIoU':
        return np.array([row.intersection for row in rows]), np.array([row.union for row in rows])
    kind, right = (nothing, empty) if statistic == 'N-acc' else (~nothing, ~empty)
    return (kind & right).astype(np.int64), kind.astype(np.int64)


def summarise(rows: Sequence[SampleResult], metrics: Sequence[str] = METRICS) -> dict[str, float]:
    """Metrics in percent (RRSIS-D, arXiv 2312.12470, and the specification's section 7; GRES, arXiv 2306.00968).

    Pr@t is the share of samples with IoU >= t, mIoU the mean IoU, oIoU the sum of all intersections over the sum of
    all unions. An empty ground truth is a sample like any other.

    gIoU is the mean IoU, where a sentence that means nothing counts 1 if the prediction is empty and 0 if it is not;
    cIoU is the sum of all intersections over the sum of all unions; N-acc the share of the sentences that mean nothing
    with an empty prediction, T-acc the share of the others with one that is not empty.

    Raises:
        DataError: there are no rows.
    """
    if not rows:
        raise DataError('no samples to summarise; check the data set and its `indices`')
    summary = {}
    for name in metrics:
        numerator, denominator = _ratio(rows, name)
        total = denominator.sum()
        summary[name] = float(100 * numerator.sum() / total) if total else 0.0
    return summary


def bootstrap_interval(
    rows: Sequence[SampleResult], statistic: str, samples: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of one metric (Efron and Tibshirani 1993, chapter 13).

    Images are drawn with replacement, each with all its sentences, because sentences of one image are not independent.
    Where every image has one sentence, as in RRSIS-D, that is drawing sentences.

    Args:
        rows: results of single samples.
        statistic: one of `METRICS` or `GENERALIZED_METRICS`.
        samples: number of resamples.
        seed: of the random draws; the same rows and seed give the same interval.
        level: coverage, in (0, 1).

    Returns:
        Lower and upper end, in percent.
    """
    if not rows:
        raise DataError('no samples to compute an interval from')
    numerator, denominator = _by_image(rows, statistic)
    values = _resampled(numerator, denominator, samples, seed)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(100 * low), float(100 * high)


def paired_interval(
    first: Sequence[SampleResult],
    second: Sequence[SampleResult],
    statistic: str,
    samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a difference: the second run's metric less the first's.

    Both are computed on the same drawn images, so what makes an image hard for both cancels out.

    Args:
        first: results of one run.
        second: results of another run on the same samples, in the same order.
        statistic: one of `METRICS` or `GENERALIZED_METRICS`.
        samples: number of resamples.
        seed: of the random draws.
        level: coverage, in (0, 1).

    Returns:
        Lower and upper end, in percent points.

    Raises:
        DataError: the runs are not on the same samples.
    """
    if not first or [row.sample_id for row in first] != [row.sample_id for row in second]:
        raise DataError('the two runs are not on the same samples; test both on the same data set')
    # The images of one run stand for both: a copied data set has other paths.
    images = [row.img_path if row.img_path is not None else row.sample_id for row in first]
    parts = [_resampled(*_by_image(rows, statistic, images), samples, seed) for rows in (first, second)]
    low, high = np.quantile(parts[1] - parts[0], [(1 - level) / 2, (1 + level) / 2])
    return float(100 * low), float(100 * high)


def _by_image(
    rows: Sequence[SampleResult], statistic: str, images: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Numerators and denominators of a metric, summed over the sentences of an image."""
    # A row without an image path stands for an image of its own.
    keys: Sequence[Hashable] = images or [
        ('path', row.img_path) if row.img_path is not None else ('id', row.sample_id) for row in rows
    ]
    order = {key: index for index, key in enumerate(dict.fromkeys(keys))}
    image = np.array([order[key] for key in keys])
    numerator, denominator = (np.bincount(image, weights=part) for part in _ratio(rows, statistic))
    return numerator, denominator


def _resampled(numerator: np.ndarray, denominator: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """The metric on `samples` sets of images drawn with replacement; equal seeds draw equal images."""
    rng = np.random.default_rng(seed)
    n = len(numerator)
    values = np.empty(samples)
    step = max(1, 2_000_000 // n)  # bounds the memory of the drawn indices to 16 MB
    for start in range(0, samples, step):
        drawn = rng.integers(0, n, size=(min(step, samples - start), n))
        above, below = numerator[drawn].sum(axis=1), denominator[drawn].sum(axis=1)
        values[start : start + len(drawn)] = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return values
