"""Runs on the same samples, side by side."""

from collections.abc import Mapping, Sequence

from rs2sam2.errors import DataError
from rs2sam2.evaluation.results import METRICS, SampleResult, paired_interval, summarise
from rs2sam2.evaluation.tables import grouped, plain_table


def pair_results(
    first: Sequence[SampleResult], second: Sequence[SampleResult], names: tuple[str, str]
) -> tuple[list[SampleResult], list[SampleResult]]:
    """The results of two runs in one order.

    Args:
        first: results of one run.
        second: results of the other.
        names: of the two, for the error text.

    Returns:
        Both, sample by sample.

    Raises:
        DataError: they are not on the same samples, sentences or protocol.
    """
    rows = {row.sample_id: row for row in second}
    ids = {row.sample_id for row in first}
    lonely = ids ^ set(rows)
    if lonely:
        raise DataError(
            f'{names[0]} has {len(ids):,} samples, {names[1]} {len(rows):,}, and {len(lonely):,} are in only one '
            f'({min(lonely)!r}); test both on the same split'
        )
    for row in first:
        other = rows[row.sample_id]
        if row.protocol != other.protocol:
            raise DataError(
                f'{names[0]} counted pixels by the protocol {row.protocol}, {names[1]} by {other.protocol}; '
                'test both with one'
            )
        if row.expression != other.expression:
            raise DataError(
                f'sample {row.sample_id!r} says {row.expression!r} in {names[0]}, {other.expression!r} in {names[1]}; '
                'test both on the same sentences'
            )
    return list(first), [rows[row.sample_id] for row in first]


def align_runs(runs: Mapping[str, Sequence[SampleResult]]) -> dict[str, list[SampleResult]]:
    """The results of any number of runs in the order of the first; see `pair_results`."""
    (reference, first), *others = runs.items()
    return {reference: list(first)} | {name: pair_results(first, rows, (reference, name))[1] for name, rows in others}


def comparison_table(
    first: Sequence[SampleResult], second: Sequence[SampleResult], names: tuple[str, str], samples: int = 1000
) -> str:
    """Every metric of two runs, their difference, and its paired 95 % bootstrap interval.

    Args:
        first: results of one run.
        second: results of the other, in the same order.
        names: of the two runs.
        samples: resamples of the bootstrap.
    """
    values = summarise(first), summarise(second)
    lines = []
    for metric in METRICS:
        low, high = paired_interval(first, second, metric, samples)
        difference = values[1][metric] - values[0][metric]
        lines.append(
            [metric, *(f'{one[metric]:.2f}' for one in values), f'{difference:+.2f}', f'{low:+.2f} to {high:+.2f}']
        )
    better = sum(b.iou > a.iou for a, b in zip(first, second, strict=True))
    worse = sum(b.iou < a.iou for a, b in zip(first, second, strict=True))
    title = (
        f'{len(first):,} samples, protocol {first[0].protocol}, percent; IoU of {names[1]} higher in {better:,}, '
        f'lower in {worse:,}, equal in {len(first) - better - worse:,}'
    )
    return plain_table(title, '', (*names, 'difference', '95 % interval (paired)'), lines)


def comparison_by_group(
    first: Sequence[SampleResult], second: Sequence[SampleResult], names: tuple[str, str], by: str, samples: int = 1000
) -> str:
    """Samples and mIoU of every group, the difference, and its paired 95 % bootstrap interval.

    Args:
        first: results of one run.
        second: results of the other, in the same order.
        names: of the two runs.
        by: one of `BREAKDOWNS`.
        samples: resamples of the bootstrap.
    """
    other = {row.sample_id: row for row in second}
    lines = []
    for key, members in grouped(first, by).items():
        pair = members, [other[row.sample_id] for row in members]
        values = [summarise(rows)['mIoU'] for rows in pair]
        low, high = paired_interval(*pair, 'mIoU', samples)
        numbers = [f'{value:.2f}' for value in values]
        lines.append([key, str(len(members)), *numbers, f'{values[1] - values[0]:+.2f}', f'{low:+.2f} to {high:+.2f}'])
    title = by.replace('_', ' ')
    return plain_table(f'mIoU by {title}', title, ('n', *names, 'difference', '95 % interval (paired)'), lines)


def means_by_group(runs: Mapping[str, Sequence[SampleResult]], by: str) -> str:
    """Samples of every group and the mIoU of every run on them.

    Args:
        runs: results by the run's name, all in one order (`align_runs`).
        by: one of `BREAKDOWNS`.
    """
    tables = [grouped(rows, by) for rows in runs.values()]
    lines = [
        [key, str(len(members)), *(f'{summarise(table[key])["mIoU"]:.2f}' for table in tables)]
        for key, members in tables[0].items()
    ]
    title = by.replace('_', ' ')
    return plain_table(f'mIoU by {title}', title, ('n', *runs), lines)


def largest_disagreements(runs: Mapping[str, Sequence[SampleResult]], number: int) -> list[tuple[SampleResult, ...]]:
    """The samples whose best and worst IoU lie furthest apart, at most `number` and one of an image.

    Args:
        runs: results by the run's name, all in one order (`align_runs`).
        number: of samples.
    """

    def apart(rows: tuple[SampleResult, ...]) -> tuple[float, str]:
        ious = [row.iou for row in rows]
        return min(ious) - max(ious), rows[0].sample_id

    of_image: dict[str, tuple[SampleResult, ...]] = {}
    for rows in sorted(zip(*runs.values(), strict=True), key=apart):
        if apart(rows)[0] < 0:
            of_image.setdefault(rows[0].img_path or rows[0].sample_id, rows)
    return list(of_image.values())[:number]


def largest_changes(
    first: Sequence[SampleResult], second: Sequence[SampleResult], number: int
) -> tuple[list[tuple[SampleResult, SampleResult]], list[tuple[SampleResult, SampleResult]]]:
    """The samples that the second run does most better, and most worse; at most `number` of each."""
    pairs = sorted(zip(first, second, strict=True), key=lambda pair: (pair[0].iou - pair[1].iou, pair[0].sample_id))
    wins = [pair for pair in pairs[:number] if pair[1].iou > pair[0].iou]
    losses = [pair for pair in pairs[::-1][:number] if pair[1].iou < pair[0].iou]
    return wins, losses
