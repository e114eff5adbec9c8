"""Several runs on the same samples against the first of them: a table and a figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rs2sam2.evaluation.compare import pair_results
from rs2sam2.evaluation.results import SampleResult, bootstrap_interval, paired_interval, summarise
from rs2sam2.evaluation.tables import plain_table


def ablation_table(runs: Mapping[str, Sequence[SampleResult]], samples: int = 1000) -> str:
    """A row a run: its metrics, the difference of its mIoU to the first run's, and paired 95 % intervals.

    The intervals are those of the drawn test images; what another random start of a training would change is not in
    them.

    Args:
        runs: results by the run's name; the first is the reference.
        samples: resamples of the bootstrap.

    Raises:
        DataError: the runs are not on the same samples, sentences or protocol.
    """
    reference, first = next(iter(runs.items()))
    lines = []
    for name, rows in runs.items():
        base, rows = pair_results(first, rows, (reference, name))
        values = summarise(rows)
        low, high = bootstrap_interval(rows, 'mIoU', samples)
        line = [name, f'{values["mIoU"]:.2f}', f'{low:.2f} - {high:.2f}']
        if name == reference:
            line += ['', '']
        else:
            low, high = paired_interval(base, rows, 'mIoU', samples)
            difference = values['mIoU'] - summarise(base)['mIoU']
            line += [f'{difference:+.2f}', f'{low:+.2f} to {high:+.2f}']
        lines.append([*line, f'{values["oIoU"]:.2f}', f'{values["Pr@0.5"]:.2f}', f'{values["Pr@0.7"]:.2f}'])
    columns = ('mIoU', '95 %', f'to {reference}', '95 % (paired)', 'oIoU', 'Pr@0.5', 'Pr@0.7')
    return plain_table(f'{len(first):,} samples, protocol {first[0].protocol}, percent', '', columns, lines)


def ablation_figure(runs: Mapping[str, Sequence[SampleResult]], path: Path) -> None:
    """Draw every run's mIoU with its 95 % interval, the first run's as a line through all."""
    names = list(runs)
    centres = [summarise(rows)['mIoU'] for rows in runs.values()]
    intervals = [bootstrap_interval(rows, 'mIoU') for rows in runs.values()]
    figure = Figure(figsize=(7, 1.3 + 0.4 * len(names)), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    errors = [
        [centre - low for centre, (low, _) in zip(centres, intervals, strict=True)],
        [high - centre for centre, (_, high) in zip(centres, intervals, strict=True)],
    ]
    axes.axvline(centres[0], color='0.75', linewidth=1)
    axes.errorbar(centres, range(len(names)), xerr=errors, fmt='o', color='#457b9d', capsize=3)
    for row, centre in enumerate(centres):
        axes.annotate(f'{centre:.1f}', (centre, row), (0, 5), textcoords='offset points', ha='center', fontsize=8)
    axes.set_yticks(range(len(names)), names)
    # Room for the numbers above the first row, however few rows there are.
    axes.set_ylim(len(names) - 0.5, -0.8)
    axes.margins(x=0.1)
    axes.set_xlabel('mIoU in percent, 95 % interval over the test images')
    axes.spines[['top', 'right']].set_visible(False)
    figure.savefig(path, dpi=150)
