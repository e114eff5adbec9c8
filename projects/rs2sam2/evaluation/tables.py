"""Tables of metrics, as plain text that is also Markdown."""

from collections.abc import Callable, Sequence
from io import StringIO

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from rs2sam2.evaluation.results import METRICS, SampleResult, bootstrap_interval, summarise
from rs2sam2.terminal import plain

SIZE_LIMITS = (0.01, 0.1)
"""Shares of the image below which a target is small, and below which it is medium."""
LENGTH_LIMITS = (4, 8)
"""Most words of a short sentence, and of a middling one."""


def _render(table: Table) -> str:
    """Plain text, as wide as the table needs, without colours: it goes to log files."""
    out = StringIO()
    Console(file=out, width=400, no_color=True, highlight=False, markup=False, emoji=False).print(table)
    return '\n'.join(line.rstrip() for line in out.getvalue().splitlines()).strip('\n')


def plain_table(title: str, first: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A titled table as text: a first column at the left, numbers at the right."""
    table = Table(box=MARKDOWN)
    table.add_column(plain(first), no_wrap=True)
    for column in columns:
        table.add_column(plain(column), justify='right', no_wrap=True)
    for row in rows:
        table.add_row(*(plain(cell) for cell in row))
    return f'{title}\n\n{_render(table)}'


def metric_table(
    rows: Sequence[SampleResult],
    title: str,
    published: tuple[str, dict[str, float]] | None = None,
    samples: int = 1000,
    metrics: Sequence[str] = METRICS,
    with_interval: Sequence[str] = ('oIoU', 'mIoU'),
) -> str:
    """The main table: this run, its 95 % bootstrap interval, and published numbers below.

    Args:
        rows: results of single samples.
        title: printed above; names the protocol.
        published: name and values (percent, by metric name) of a published row.
        samples: resamples of the bootstrap.
        metrics: the columns.
        with_interval: those of the columns that get an interval.
    """
    summary = summarise(rows, metrics)
    interval = {name: bootstrap_interval(rows, name, samples) for name in with_interval}
    lines = [
        ['this run', *(f'{summary[name]:.2f}' for name in metrics)],
        [
            '95 % interval',
            *('{:.2f} - {:.2f}'.format(*interval[name]) if name in interval else '' for name in metrics),
        ],
    ]
    if published:
        name, values = published
        lines.append([f'published: {name}', *(f'{values[key]:.2f}' if key in values else '' for key in metrics)])
    return plain_table(title, '', metrics, lines)


def _by_category(row: SampleResult) -> str:
    return row.category if row.category is not None else '(none)'


def _by_size(row: SampleResult) -> str:
    small, medium = SIZE_LIMITS
    if row.target_share == 0:
        return 'empty'
    if row.target_share < small:
        return f'small (below {small:.0%} of the image)'
    return f'medium (below {medium:.0%})' if row.target_share < medium else f'large ({medium:.0%} and more)'


def _by_position_words(row: SampleResult) -> str:
    from rs2sam2.text.position import uses_position

    return 'with position words' if uses_position(row.expression) else 'without position words'


def _by_sentence_length(row: SampleResult) -> str:
    words = len(row.expression.split())
    short, long = LENGTH_LIMITS
    if words > long:
        return f'more than {long} words'
    return f'{short + 1} to {long} words' if words > short else f'up to {short} words'


BREAKDOWNS: dict[str, Callable[[SampleResult], str]] = {
    'category': _by_category,
    'size': _by_size,
    'position_words': _by_position_words,
    'sentence_length': _by_sentence_length,
}
"""Ways to split the samples: name, and the group of a sample."""


def grouped(rows: Sequence[SampleResult], by: str) -> dict[str, list[SampleResult]]:
    """The samples by group; sizes and lengths from small to large, everything else by name.

    Args:
        rows: results of single samples.
        by: one of `BREAKDOWNS`.
    """
    groups: dict[str, list[SampleResult]] = {}
    for row in rows:
        groups.setdefault(BREAKDOWNS[by](row), []).append(row)
    measures = {
        'size': lambda key: max(row.target_share for row in groups[key]),
        'sentence_length': lambda key: max(len(row.expression.split()) for row in groups[key]),
    }
    keys = sorted(groups, key=measures.get(by, str))
    return {key: groups[key] for key in keys}


def breakdown_table(rows: Sequence[SampleResult], by: str) -> str:
    """Number of samples, Pr@0.5, oIoU and mIoU of every group of samples.

    Args:
        rows: results of single samples.
        by: one of `BREAKDOWNS`.
    """
    groups = grouped(rows, by)
    shown = ('Pr@0.5', 'oIoU', 'mIoU')
    lines = []
    for key, members in groups.items():
        summary = summarise(members)
        lines.append([key, str(len(members)), *(f'{summary[name]:.2f}' for name in shown)])
    return plain_table(f'By {by.replace("_", " ")}', by.replace('_', ' '), ('n', *shown), lines)
