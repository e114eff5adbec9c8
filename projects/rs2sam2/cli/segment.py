"""Segment many pairs of image and expression into a folder, over several processes if there are."""

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rs2sam2.cli.outputs import OutputFolder, image_digest
from rs2sam2.cli.pairs import Pair, cut_batches
from rs2sam2.errors import CheckpointError, ConfigError, DataError, RefSegError, TokenizerError
from rs2sam2.inference.ahead import one_ahead
from rs2sam2.inference.arguments import Box, Points, check_batch_size, check_min_score
from rs2sam2.inference.images import load_image
from rs2sam2.inference.inferencer import PreparedImage, PreparedSample, RefSegInferencer
from rs2sam2.locks import hold_folder
from rs2sam2.one_line import EXIT_BAD_INPUT
from rs2sam2.terminal import plain
from rs2sam2.visualization.overlay import draw_overlay


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
    """How many pairs were segmented in this run, were empty among them, were finished before, failed.

    And how many had been finished until their image was replaced.
    """

    segmented: int = 0
    empty: int = 0
    before: int = 0
    failed: int = 0
    replaced: int = 0


class _Opened(NamedTuple):
    pixels: np.ndarray
    sha256: str | None
    prepared: PreparedImage


class _Job(NamedTuple):
    pair: Pair
    pixels: np.ndarray
    sha256: str | None
    sample: PreparedSample


class _Failure(NamedTuple):
    pair: Pair
    reason: str
    whole_image: bool = False


class _Plan(NamedTuple):
    """What rank 0 found in the folder and all processes go by."""

    finished: set[str]
    replaced: int
    batches: list[list[Pair]]


class BatchRun:
    """One process's share of a run.

    Args:
        options: how.
        out: the output folder.
        console: where failures are told.

    Raises:
        RefSegError: an option means nothing, or the folder cannot be written.
    """

    def __init__(self, options: SegmentOptions, out: Path, console: Console) -> None:
        check_batch_size(options.batch_size)
        check_min_score(options.min_score)
        self.options = options
        self.console = console
        self.rank, self.world_size = int(os.environ.get('RANK', 0)), int(os.environ.get('WORLD_SIZE', 1))
        self.folder = OutputFolder(out, self.rank, self.world_size, options.overlays)
        self.segmented = self.empty = self.failed = 0
        self._last: tuple[str, _Opened | DataError] | None = None
        self._last_told: str | None = None

    def __call__(self, pairs: Sequence[Pair]) -> Counts:
        """Segment what is not finished; in the end rank 0 holds the counts of all processes and merges their rows.

        Raises:
            RefSegError: the model cannot be used, or the folder is another run's.
        """
        if self.world_size > 1:
            _torch_distributed().init_process_group('gloo')
        with contextlib.ExitStack() as stack:
            if self.rank == 0:
                self._or_all_end(lambda: stack.enter_context(hold_folder(self.folder.folder, 'choose another --out')))
            else:
                self._told()
            self.inferencer = self._load_model()
            plan = self._or_all_end(lambda: self._plan(pairs)) if self.rank == 0 else self._told()
            count = len(plan.batches)
            # Neighbours share images, and each is to be read once.
            share = plan.batches[count * self.rank // self.world_size : count * (self.rank + 1) // self.world_size]
            total = sum(pair.id not in plan.finished for batch in share for pair in batch)
            # Whoever reads along wants one bar, not one a process.
            progress = stack.enter_context(self._bar(disable=self.rank > 0))
            task = progress.add_task('segmenting', total=total)
            for batch, jobs in one_ahead((batch, list(map(self._prepare, batch))) for batch in share):
                self._segment(jobs, plan.finished)
                progress.advance(task, sum(pair.id not in plan.finished for pair in batch))
            counts = self._gather(Counts(self.segmented, self.empty, len(plan.finished), self.failed, plan.replaced))
            if self.rank == 0:
                self.folder.merge(pairs)
        if self.world_size > 1:
            _torch_distributed().destroy_process_group()
        self.trained_on = self.inferencer.trained_on
        return counts

    def _load_model(self) -> RefSegInferencer:
        options, device = self.options, self.options.device
        if device is None and self.world_size > 1:
            import torch

            device = f'cuda:{os.environ.get("LOCAL_RANK", 0)}' if torch.cuda.is_available() else None
        return RefSegInferencer(
            options.model,
            options.weights,
            device,
            precision=options.precision,
            compile=options.compile,
            tta=options.tta,
        )

    def _plan(self, pairs: Sequence[Pair]) -> _Plan:
        """Claim the folder, see what is finished, and cut batches.

        Batches are cut from all pairs, whatever is finished: a run that goes on makes up those that were not whole with
        the same members, and its numbers are the same to the last bit.
        """
        self.folder.begin(self._settings(), {'trained_on': self.inferencer.trained_on})
        with self._bar(transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task('looking for what is finished', total=len(pairs))
            found = self.folder.look(pairs, lambda: progress.advance(task))
        if found.replaced:
            self.folder.discard(pair for pair in pairs if pair.id in found.replaced)
        batches = cut_batches(pairs, self.options.batch_size)
        todo = [batch for batch in batches if not all(pair.id in found.finished for pair in batch)]
        return _Plan(found.finished, len(found.replaced), todo)

    def _segment(self, prepared: list[_Job | _Failure], finished: set[str]) -> None:
        """Run a batch; of its pairs that were finished before, nothing is written or counted."""
        for failure in prepared:
            if isinstance(failure, _Failure) and failure.pair.id not in finished:
                self._tell_failure(failure)
        jobs = [job for job in prepared if isinstance(job, _Job)]
        if all(job.pair.id in finished for job in jobs):
            return
        samples = [job.sample for job in jobs]
        predictions = self.inferencer.forward(samples, self.options.box, self.options.points)
        for job, prediction in zip(jobs, predictions, strict=True):
            if job.pair.id in finished:
                continue
            try:
                (result,) = self.inferencer.postprocess([prediction], [job.sample], self.options.min_score)
            except CheckpointError as error:
                self._tell_failure(_Failure(job.pair, f'{job.pair.image}, {job.pair.expression!r}: {error}'))
                continue
            overlay = draw_overlay(job.pixels, result.mask) if self.options.overlays else None
            self.folder.write(job.pair, result, overlay, job.sha256)
            self.segmented += 1
            self.empty += result.empty

    def _prepare(self, pair: Pair) -> _Job | _Failure:
        """A pair ready for its batch, or why it cannot be; a thread does this while the model is at work."""
        opened = self._open(pair.image)
        if isinstance(opened, DataError):
            return _Failure(pair, str(opened), whole_image=True)
        try:
            return _Job(pair, opened.pixels, opened.sha256, self.inferencer.prepare(opened.prepared, pair.expression))
        except TokenizerError as error:
            return _Failure(pair, f'{pair.image}: {error}')

    def _open(self, path: str) -> _Opened | DataError:
        """An image, decoded once for pairs that follow each other; or why it cannot be."""
        if self._last is None or self._last[0] != path:
            # Taken before: should the file be replaced just now, the next run sees another one.
            sha256 = image_digest(path)
            try:
                image = load_image(path)
                self._last = path, _Opened(image.pixels, sha256, self.inferencer.prepare_image(image))
            except DataError as error:
                self._last = path, error
        return self._last[1]

    def _tell_failure(self, failure: _Failure) -> None:
        """Count a failure and tell it; an image that cannot be read is told once for all its expressions."""
        self.failed += 1
        if not failure.whole_image or failure.pair.image != self._last_told:
            self.console.print(plain(f'failed: {failure.reason}'), soft_wrap=True)
        self._last_told = failure.pair.image if failure.whole_image else None

    def _bar(self, **options: bool) -> Progress:
        columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        return Progress(*columns, console=self.console, **options)

    def _settings(self) -> dict:
        options = self.options
        own = {'min_score': options.min_score, 'box': options.box, 'points': options.points}
        return {**self.inferencer.identity, **own}

    def _or_all_end(self, work: Callable[[], Any]) -> Any:
        """What rank 0 does for all: the others get its result, or end without a word where it fails."""
        try:
            result = work()
        except RefSegError:
            self._tell(None)
            raise
        self._tell((result if isinstance(result, _Plan) else None,))
        return result

    def _tell(self, message: tuple | None) -> None:
        if self.world_size > 1:
            _torch_distributed().broadcast_object_list([message])

    def _told(self) -> Any:
        box: list = [None]
        _torch_distributed().broadcast_object_list(box)
        if box[0] is None:
            sys.exit(EXIT_BAD_INPUT)
        return box[0][0]

    def _gather(self, counts: Counts) -> Counts:
        if self.world_size == 1:
            return counts
        parts: list = [None] * self.world_size
        _torch_distributed().all_gather_object(parts, (counts.segmented, counts.empty, counts.failed))
        segmented, empty, failed = map(sum, zip(*parts, strict=True))
        return counts._replace(segmented=segmented, empty=empty, failed=failed)


def _torch_distributed() -> ModuleType:
    """Several processes are torch's; one alone may run an exported model, without torch."""
    try:
        import torch.distributed as dist
    except ModuleNotFoundError as error:
        raise ConfigError(
            'several processes (WORLD_SIZE) need PyTorch, not installed here: start a single one'
        ) from error
    return dist
