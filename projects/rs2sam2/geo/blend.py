"""The windows of a scene through the model, blended into one raster of log-odds."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from rs2sam2.errors import CheckpointError
from rs2sam2.geo.clock import StageClock
from rs2sam2.geo.predictor import WindowPredictor, window_scores
from rs2sam2.geo.reader import SceneReader
from rs2sam2.geo.storage import DiskRaster
from rs2sam2.geo.windows import Axis


@dataclass(frozen=True)
class WindowGrid:
    """All windows of a scene: each of `rows` with each of `columns`."""

    rows: Axis
    columns: Axis

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a window."""
        return self.rows.size, self.columns.size

    def places(self) -> list[tuple[int, int]]:
        """(row, column) indices into the axes, row by row."""
        return list(np.ndindex(len(self.rows.starts), len(self.columns.starts)))

    def start(self, place: tuple[int, int]) -> tuple[int, int]:
        """First pixel (y, x) of a window."""
        return self.rows.starts[place[0]], self.columns.starts[place[1]]


def predict_checked(predictor: WindowPredictor, images: list[np.ndarray], expression: str) -> np.ndarray:
    """The predictor's log-odds, (n, h, w) float32, writable.

    Raises:
        CheckpointError: they are no finite numbers.
        ValueError: they have another shape than the images.
    """
    log_odds = np.array(predictor.predict(images, expression), dtype=np.float32)
    expected = (len(images), *images[0].shape[:2])
    if log_odds.shape != expected:
        raise ValueError(f'the predictor returned shape {log_odds.shape} for {expected}')
    if not np.isfinite(log_odds).all():
        raise CheckpointError('the model returned NaN or infinite log-odds; check its weights and precision')
    return log_odds


def blend_windows(
    reader: SceneReader,
    grid: WindowGrid,
    places: list[tuple[int, int]],
    predictor: WindowPredictor,
    expression: str,
    batch_size: int,
    blended: DiskRaster,
    clock: StageClock,
) -> Iterator[tuple[int, list[float | None]]]:
    """Adds the tapered log-odds of each window to `blended`; a thread reads the next batch while the model works.

    Windows without data are not predicted.

    Args:
        reader: of the scene.
        grid: the windows.
        places: those of them to run, row by row.
        predictor: the model.
        expression: what to segment.
        batch_size: windows at a time.
        blended: (rows, columns) of the model's grid, float32, zero at the start.
        clock: counts 'read' (in its thread), 'wait' (for it), 'predict' and 'blend'.

    Yields:
        After each batch, how many windows it dealt with and the scores of those that held data.
    """
    batches = _read_batches(reader, grid, places, batch_size, clock)
    with ThreadPoolExecutor(1, 'scene-reader') as thread:
        upcoming = thread.submit(next, batches, None)
        while True:
            with clock('wait'):
                batch = upcoming.result()
            if batch is None:
                return
            upcoming = thread.submit(next, batches, None)
            seen, starts, images = batch
            if not images:
                yield seen, []
                continue
            with clock('predict'):
                log_odds = predict_checked(predictor, images, expression)
                scores = window_scores(predictor, log_odds)
            with clock('blend'):
                for place, window in zip(starts, log_odds, strict=True):
                    _add_tapered(blended, grid, place, window)
            yield seen, scores


def _add_tapered(blended: DiskRaster, grid: WindowGrid, place: tuple[int, int], window: np.ndarray) -> None:
    y, x = grid.start(place)
    window = window[: blended.height - y, : blended.width - x]
    height, width = window.shape
    window *= grid.rows.weights[place[0], :height, None]
    window *= grid.columns.weights[place[1], :width]
    blended.add(y, x, window)


def _read_batches(
    reader: SceneReader, grid: WindowGrid, places: list[tuple[int, int]], batch_size: int, clock: StageClock
) -> Iterator[tuple[int, list[tuple[int, int]], list[np.ndarray]]]:
    """(windows dealt with, places of those that hold data, their images), full batches where there is data."""
    seen, held, images = 0, [], []
    for place in places:
        with clock('read'):
            image, valid = reader.read(*grid.start(place), *grid.size)
        seen += 1
        if valid is None or valid.any():
            held.append(place)
            images.append(image)
        if len(images) == batch_size:
            yield seen, held, images
            seen, held, images = 0, [], []
    if seen:
        yield seen, held, images
