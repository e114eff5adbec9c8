"""Segment many pairs of image and expression into a folder, over several processes if there are."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rs2sam2.cli.outputs import OutputFolder, digest
from rs2sam2.cli.pairs import Pair, group_by_image
from rs2sam2.errors import DataError, TokenizerError
from rs2sam2.inference.images import load_image
from rs2sam2.inference.inferencer import PreparedSample, RS2SAM2Inferencer, draw_overlay
from rs2sam2.inference.points import Box, Points


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """How pairs are segmented.

    Attributes:
        model: config or work dir.
        weights: checkpoint, or None for the work dir's best.
        device: or None for the process's own GPU, or the CPU.
        batch_size: expressions that the model takes at once.
        min_score: masks below are emptied.
        overlays: write pictures of the masks over the images.
        box: refines the expressions of a single image.
        points: refine the expressions of a single image.
        precision: of the model; None for its own.
        compile: compile the model.
        tta: symmetries whose turned copies are averaged over, or None.
    """

    model: Path
    weights: Path | None = None
    device: str | None = None
    batch_size: int = 1
    min_score: float | None = None
    overlays: bool = True
    box: Box | None = None
    points: Points | None = None
    precision: str | None = None
    compile: bool = False
    tta: str | None = None


class Counts(NamedTuple):
    """How many pairs were segmented in this run, were empty among them, were finished before, and failed."""

    segmented: int = 0
    empty: int = 0
    before: int = 0
    failed: int = 0


class _Job(NamedTuple):
    pair: Pair
    pixels: np.ndarray
    sample: PreparedSample


class BatchRun:
    """One process's share of a run.

    Args:
        options: how.
        out: the output folder.
        console: where failures are told.

    Raises:
        RefSegError: the model or the folder cannot be used.
    """

    def __init__(self, options: SegmentOptions, out: Path, console: Console) -> None:
        self.options = options
        self.console = console
        self.rank, self.world_size = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
        self.folder = OutputFolder(out, self.rank, self.world_size, options.overlays)
        device = options.device
        if device is None and torch.cuda.is_available():
            device = f'cuda:{os.environ.get("LOCAL_RANK", 0)}'
        self.inferencer = RS2SAM2Inferencer(
            options.model,
            options.weights,
            device,
            precision=options.precision,
            compile=options.compile,
            tta=options.tta,
        )
        self.segmented = self.empty = self.failed = 0

    def __call__(self, pairs: Sequence[Pair]) -> Counts:
        """Segment what is not finished; in the end rank 0 holds the counts of all processes and merges their rows."""
        if self.world_size > 1:
            dist.init_process_group('gloo')
        if self.rank == 0:
            self.folder.begin(self._settings())
        self._wait()
        done = self.folder.finished(pairs)
        share = group_by_image(pairs)[self.rank :: self.world_size]
        todo = [[pair for pair in group if pair.id not in done] for group in share]
        columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # Whoever reads along wants one bar, not one a process.
        with Progress(*columns, console=self.console, disable=self.rank > 0) as progress:
            task = progress.add_task('segmenting', total=sum(map(len, todo)))
            self._run(todo, lambda number: progress.advance(task, number))
        counts = self._gather(Counts(self.segmented, self.empty, len(done), self.failed))
        if self.rank == 0:
            self.folder.merge(pairs)
        if self.world_size > 1:
            dist.destroy_process_group()
        return counts

    def _run(self, groups: list[list[Pair]], advance) -> None:
        batch: list[_Job] = []
        for group in groups:
            for job in self._prepare(group, advance):
                batch.append(job)
                if len(batch) == self.options.batch_size:
                    self._segment(batch)
                    advance(len(batch))
                    batch = []
        if batch:
            self._segment(batch)
            advance(len(batch))

    def _prepare(self, group: list[Pair], advance):
        if not group:
            return
        try:
            image = load_image(group[0].image)
        except DataError as error:
            self._fail(error, len(group))
            advance(len(group))
            return
        prepared = self.inferencer.prepare_image(image)
        for pair in group:
            try:
                yield _Job(pair, image.pixels, self.inferencer.prepare(prepared, pair.expression))
            except TokenizerError as error:
                self._fail(f'{pair.image}: {error}', 1)
                advance(1)

    def _segment(self, batch: list[_Job]) -> None:
        samples = [job.sample for job in batch]
        predictions = self.inferencer.forward(samples, self.options.box, self.options.points)
        results = self.inferencer.postprocess(predictions, samples, self.options.min_score)
        for job, result in zip(batch, results, strict=True):
            overlay = draw_overlay(job.pixels, result.mask) if self.options.overlays else None
            self.folder.write(job.pair, result, overlay)
            self.segmented += 1
            self.empty += result.empty

    def _fail(self, error: object, pairs: int) -> None:
        self.failed += pairs
        self.console.print(f'failed: {error}', markup=False, highlight=False, soft_wrap=True)

    def _settings(self) -> dict:
        source, options = self.inferencer.source, self.options
        return {
            'weights': digest(source.weights),
            'config': digest(source.config_path),
            'precision': self.inferencer.precision,
            'min_score': options.min_score,
            'box': options.box,
            'points': options.points,
            'tta': None if options.tta is None else list(self.inferencer.turning.elements),
        }

    def _wait(self) -> None:
        if self.world_size > 1:
            dist.barrier()

    def _gather(self, counts: Counts) -> Counts:
        if self.world_size == 1:
            return counts
        parts: list = [None] * self.world_size
        dist.all_gather_object(parts, tuple(counts))
        segmented, empty, _, failed = map(sum, zip(*parts, strict=True))
        return Counts(segmented, empty, counts.before, failed)
