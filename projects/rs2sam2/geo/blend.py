"""Windows of a scene through the model, blended into rasters of log-odds."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from rs2sam2.errors import CheckpointError
from rs2sam2.geo.clock import StageClock
from rs2sam2.geo.predictor import WindowPredictor, window_scores
from rs2sam2.geo.reader import SceneReader
from rs2sam2.geo.storage import DiskRaster
from rs2sam2.geo.windows import WindowGrid

_SEEN = 8  # batches of windows without data, after which it is said that they were seen


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


@dataclass
class Blend:
    """One question to the windows, and what becomes of the answers.

    Attributes:
        text: what is asked.
        places: (row, column) of the windows that are asked.
        sums: the tapered log-odds are added here, zero at the start.
        top: row of `sums` where the first row of the model's grid would lie.
        left: column of `sums` where the first column would lie.
        scores: of the windows that were run.
    """

    text: str
    places: set[tuple[int, int]]
    sums: DiskRaster
    top: int = 0
    left: int = 0
    scores: list[float | None] = field(default_factory=list)

    def add(self, grid: WindowGrid, shape: tuple[int, int], place: tuple[int, int], log_odds: np.ndarray) -> None:
        """Adds a window's log-odds, tapered; `shape` is that of the model's grid. `log_odds` is overwritten."""
        y, x = grid.start(place)
        window = log_odds[: shape[0] - y, : shape[1] - x]
        height, width = window.shape
        window *= grid.rows.weights[place[0], :height, None]
        window *= grid.columns.weights[place[1], :width]
        self.sums.add(y + self.top, x + self.left, window)


def blend_windows(
    reader: SceneReader,
    grid: WindowGrid,
    blends: Sequence[Blend],
    predictor: WindowPredictor,
    batch_size: int,
    clock: StageClock,
) -> Iterator[int]:
    """Runs windows and blends them; while the model works one thread reads the next batch and one blends the last.

    A window is read once for all questions, and its batches are those that each question alone would have. Windows
    without data are not predicted. Answers are added in their order, whatever the threads do.

    Args:
        reader: of the scene.
        grid: the windows.
        blends: the questions.
        predictor: the model.
        batch_size: windows at a time.
        clock: counts 'read' and 'blend' (in their threads), 'wait' (for them) and 'predict'.

    Yields:
        After each batch that was read, how many windows it dealt with.
    """
    places = sorted(set().union(*(blend.places for blend in blends)))
    batches = _read_batches(reader, grid, places, batch_size, clock)
    pending: list[list[tuple[tuple[int, int], np.ndarray]]] = [[] for _ in blends]

    def add(blend: Blend, answered: list[tuple[int, int]], log_odds: np.ndarray) -> None:
        with clock('blend'):
            for place, window in zip(answered, log_odds, strict=True):
                blend.add(grid, reader.grid_shape, place, window)

    with ThreadPoolExecutor(1, 'scene-reader') as reading, ThreadPoolExecutor(1, 'scene-blender') as blending:
        upcoming = reading.submit(next, batches, None)
        last: Future | None = None

        def run(number: int, count: int) -> None:
            nonlocal last
            while len(pending[number]) >= count > 0:
                batch, pending[number] = pending[number][:count], pending[number][count:]
                with clock('predict'):
                    log_odds = predict_checked(predictor, [image for _, image in batch], blends[number].text)
                    blends[number].scores += window_scores(predictor, log_odds)
                # At most one batch waits to be blended, so that memory stays the same.
                if last is not None:
                    with clock('wait'):
                        last.result()
                last = blending.submit(add, blends[number], [place for place, _ in batch], log_odds)

        while True:
            with clock('wait'):
                batch = upcoming.result()
            if batch is None:
                break
            upcoming = reading.submit(next, batches, None)
            seen, held = batch
            for number, blend in enumerate(blends):
                pending[number] += [(place, image) for place, image in held if place in blend.places]
                run(number, batch_size)
            yield seen
        for number in range(len(blends)):
            run(number, len(pending[number]))
        if last is not None:
            last.result()


def _read_batches(
    reader: SceneReader, grid: WindowGrid, places: list[tuple[int, int]], batch_size: int, clock: StageClock
) -> Iterator[tuple[int, list[tuple[tuple[int, int], np.ndarray]]]]:
    """(windows dealt with, those that hold data with their images): full batches, or less where much holds no data."""
    seen, held = 0, []
    for place in places:
        with clock('read'):
            image, valid = reader.read(*grid.start(place), *grid.size)
        seen += 1
        if valid is None or valid.any():
            held.append((place, image))
        if len(held) == batch_size or seen == _SEEN * batch_size:
            yield seen, held
            seen, held = 0, []
    if seen:
        yield seen, held
