"""Curves of losses and validation metrics over the iterations, as a picture at the end of training."""

import json
from collections import defaultdict
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.dist import is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner

from rs2sam2.errors import DataError

if TYPE_CHECKING:
    # matplotlib takes half a second to import; only the end of a training draws.
    from matplotlib.figure import Figure

Curves = dict[str, list[tuple[float, float]]]
"""Points (iteration, value) by name."""

COLOURS = ('#0b5cad', '#d1495b', '#2a9d5c', '#e09f1f', '#7b4fb5', '#1b9aaa', '#8c6d46', '#6c757d')
INK, GREY = '#181c24', '#707884'
# One family of colours for one family of metrics, fading towards the harder thresholds.
FIXED = {
    'loss': INK, 'mIoU': INK, 'oIoU': '#d1495b',
    'Pr@0.5': '#08519c', 'Pr@0.6': '#3182bd', 'Pr@0.7': '#6baed6', 'Pr@0.8': '#9ecae1', 'Pr@0.9': '#c6dbef',
}  # fmt: skip
HEAVY = ('loss', 'mIoU', 'oIoU')


def read_scalars(files: Iterable[Path], epoch_iterations: int | None = None) -> tuple[Curves, Curves]:
    """Read the scalars that mmengine's LocalVisBackend writes.

    Args:
        files: `vis_data/scalars.json` of a run and, before it, of those that it resumed; where they overlap the last
            counts.
        epoch_iterations: iterations of an epoch where validation is logged by epoch, None where by iteration.

    Returns:
        Losses, and validation metrics.

    Raises:
        DataError: a line cannot be read.
    """
    losses: dict[str, dict[float, float]] = defaultdict(dict)
    metrics: dict[str, dict[float, float]] = defaultdict(dict)
    for file in files:
        lines = file.read_text().splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                step = record['step']
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                # A killed run may have written a part of its last line.
                if number == len(lines) and line.startswith('{') and not line.endswith('\n'):
                    break
                raise DataError(f'{file}:{number}: not a line of scalars ({error!r})') from error
            trained = 'lr' in record
            x = step if trained or epoch_iterations is None else step * epoch_iterations
            for key, value in record.items():
                if not isinstance(value, (int, float)):
                    continue
                if trained and 'loss' in key:
                    losses[key][x] = value
                elif not trained and '/' in key:
                    metrics[key][x] = value
    return _in_order(losses), _in_order(metrics)


def _in_order(curves: dict[str, dict[float, float]]) -> Curves:
    return {key: sorted(points.items()) for key, points in curves.items()}


def _plot(axes, curves: Curves, title: str, y_label: str) -> None:
    colours = cycle(COLOURS)
    names = {key: key.split('/')[-1] for key in curves}
    for key in sorted(curves, key=lambda key: (names[key] not in HEAVY, names[key])):
        x, y = zip(*curves[key], strict=True)
        name, heavy = names[key], names[key] in HEAVY
        axes.plot(
            x, y, label=name, color=FIXED[name] if name in FIXED else next(colours), zorder=3 if heavy else 2,
            linewidth=2.2 if heavy else 1.5, marker='o' if len(x) < 25 else None, markersize=3.5,
        )  # fmt: skip
    axes.set_title(title, loc='left', fontsize=11, color=INK)
    axes.set_xlabel('iteration', color=GREY)
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(y_label, color=GREY)
    if all(value >= 0 for points in curves.values() for _, value in points):
        axes.set_ylim(bottom=0)
    axes.grid(axis='y', color='#e3e6ea', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    axes.spines[['left', 'bottom']].set_color('#c3c8cf')
    axes.tick_params(colors=GREY)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc='upper left', bbox_to_anchor=(1.01, 1.02))


def draw_curves(losses: Curves, metrics: Curves, title: str) -> 'Figure':
    """Losses on the left, validation metrics on the right (only what there is), the best mIoU marked.

    Args:
        losses: from `read_scalars`.
        metrics: from `read_scalars`, in percent.
        title: of the picture.
    """
    # Sums of metrics only choose a checkpoint; they run up to 200 %.
    metrics = {key: points for key, points in metrics.items() if '+' not in key}
    shown = [(losses, 'training', 'loss')] * bool(losses) + [(metrics, 'validation', 'percent')] * bool(metrics)
    last = max((x for curves, *_ in shown for points in curves.values() for x, _ in points), default=1)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.9 * max(1, len(shown)), 4.3), dpi=130, layout='constrained')
    figure.suptitle(title, x=0.01, ha='left', fontsize=13, fontweight='bold', color=INK)
    for index, (curves, name, y_label) in enumerate(shown):
        axes = figure.add_subplot(1, len(shown), index + 1)
        best = [point for key, points in curves.items() if key.endswith('/mIoU') for point in points]
        if best:
            x, y = max(best, key=lambda point: point[1])
            name = f'{name}: best mIoU {y:.1f} at iteration {x:g}'
            axes.plot([x], [y], 'o', markersize=11, markerfacecolor='none', markeredgecolor=INK, zorder=4)
        _plot(axes, curves, name, y_label)
        # One axis for both, from the start: a single validation has a place in the training.
        axes.set_xlim(0, 1.02 * max(last, 1))
    return figure


class CurvesHook(Hook):
    """Writes `curves.png` to the work folder when training ends, from the scalars that LocalVisBackend has logged.

    A resumed run draws the earlier runs of its work folder too. Only the main process draws.
    """

    def before_train(self, runner: Runner) -> None:
        """Note where training begins."""
        self._begun = runner.iter

    def after_train(self, runner: Runner) -> None:
        """Draw the curves."""
        if not is_main_process() or runner.iter == self._begun:  # a finished run that was resumed
            return
        now = Path(runner.log_dir) / 'vis_data' / 'scalars.json'
        if not now.is_file():
            runner.logger.warning(
                f'No curves: {now} is missing; give the visualizer vis_backends=[dict(type="LocalVisBackend")]'
            )
            return
        # The folders of runs are named by their time.
        before = sorted(Path(runner.work_dir).glob('*/vis_data/scalars.json')) if runner._resume else []
        files = [*(file for file in before if file.parent.parent.name < now.parent.parent.name), now]
        logger = next((hook for hook in runner.hooks if isinstance(hook, LoggerHook)), None)
        by_epoch = logger is not None and logger.log_metric_by_epoch
        losses, metrics = read_scalars(files, len(runner.train_dataloader) if by_epoch else None)
        path = Path(runner.work_dir) / 'curves.png'
        figure = draw_curves(losses, metrics, runner.experiment_name.removesuffix(f'_{runner.timestamp}'))
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        FigureCanvasAgg(figure).print_png(path)
        runner.logger.info(f'Curves: {path}')
