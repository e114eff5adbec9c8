"""Segment many pairs of image and expression into a folder, over several processes if there are."""

import itertools
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rs2sam2.allocator import keep_memory
from rs2sam2.cli.outputs import Found, OutputFolder, image_digest
from rs2sam2.cli.pairs import Pair, cut_batches
from rs2sam2.errors import CheckpointError, DataError, TokenizerError
from rs2sam2.inference.ahead import one_ahead
from rs2sam2.inference.arguments import Box, Points, check_batch_size, check_min_score
from rs2sam2.inference.images import load_image
from rs2sam2.inference.inferencer import PreparedImage, PreparedSample, RefSegInferencer
from rs2sam2.locks import hold_folder
from rs2sam2.terminal import plain
from rs2sam2.visualization.overlay import draw_overlay
from rs2sam2.workers import open_workers, own_device
from rs2sam2.workers.shared import Token, check_token, token_in

_GROUP = 16  # the most batches of an image that one worker takes together


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """How pairs are segmented.

    Attributes:
        model: config, work dir, or a published name.
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

    model: str | Path
    weights: str | Path | None = None
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


class _About(NamedTuple):
    """What decides the outputs of a model, and what it was trained on; as a unit it asks for that."""

    settings: dict | None = None
    trained_on: str | None = None


class _Unit(NamedTuple):
    """Batches to be segmented, and ids of pairs among them that were finished before."""

    batches: list[list[Pair]]
    finished: frozenset[str]


@dataclass
class _Done:
    """What became of a unit."""

    segmented: int = 0
    empty: int = 0
    failures: list[_Failure] = field(default_factory=list)


@dataclass(frozen=True)
class SegmentMaker:
    """Makes what segments, in whatever process.

    Attributes:
        options: how.
        out: the output folder.
        token: a file there that every worker must see, or None.
    """

    options: SegmentOptions
    out: Path
    token: Token | None

    def __call__(self) -> 'SegmentWorker':
        """See the class."""
        check_token(self.token)
        return SegmentWorker(self.options, _own_folder(self.out, self.options, self.token is not None))


class SegmentWorker:
    """Segments batches of pairs; a thread prepares the next one while the model is at work.

    Args:
        options: how.
        folder: where to.
    """

    def __init__(self, options: SegmentOptions, folder: OutputFolder) -> None:
        self.options, self.folder = options, folder
        self.inferencer = RefSegInferencer(
            options.model,
            options.weights,
            options.device or own_device(),
            precision=options.precision,
            compile=options.compile,
            tta=options.tta,
            identified=True,
        )
        keep_memory(self.inferencer.device_name)
        self._last: tuple[str, _Opened | DataError] | None = None

    def __call__(self, units: Iterator[_Unit | _About]) -> Iterator[_Done | _About]:
        """One outcome a unit."""
        done = _Done()
        for unit, jobs, is_last in one_ahead(self._prepared(units)):
            if isinstance(unit, _About):
                yield self._about()
                continue
            self._segment(jobs, unit.finished, done)
            if is_last:
                yield done
                done = _Done()

    def _prepared(
        self, units: Iterator[_Unit | _About]
    ) -> Iterator[tuple[_Unit | _About, list[_Job | _Failure], bool]]:
        """Each unit with its batches, one after the other, and whether that is the unit's last."""
        for unit in units:
            if isinstance(unit, _About):
                yield unit, [], True
                continue
            for number, batch in enumerate(unit.batches, 1):
                yield unit, list(map(self._prepare, batch)), number == len(unit.batches)

    def _about(self) -> _About:
        options = self.options
        own = {'min_score': options.min_score, 'box': options.box, 'points': options.points}
        return _About({**self.inferencer.identity, **own}, self.inferencer.trained_on)

    def _segment(self, prepared: list[_Job | _Failure], finished: frozenset[str], done: _Done) -> None:
        """Run a batch; of its pairs that were finished before, nothing is written or counted."""
        done.failures += [one for one in prepared if isinstance(one, _Failure) and one.pair.id not in finished]
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
                done.failures.append(_Failure(job.pair, f'{job.pair.image}, {job.pair.expression!r}: {error}'))
                continue
            overlay = draw_overlay(job.pixels, result.mask) if self.options.overlays else None
            self.folder.write(job.pair, result, overlay, job.sha256)
            done.segmented += 1
            done.empty += result.empty

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


class BatchRun:
    """A run: what is finished, what is to be done, and who does it.

    Args:
        options: how.
        out: the output folder.
        console: where failures are told.

    Attributes:
        trained_on: what the model was trained on, after the run.

    Raises:
        RefSegError: an option means nothing, or the folder cannot be written.
    """

    def __init__(self, options: SegmentOptions, out: Path, console: Console) -> None:
        check_batch_size(options.batch_size)
        check_min_score(options.min_score)
        self.options, self.console, self._out = options, console, out.absolute()
        self.folder = OutputFolder(out, overlays=options.overlays)
        self.trained_on: str | None = None
        self._told: set[str] = set()

    def __call__(self, pairs: Sequence[Pair]) -> Counts:
        """Segment what is not finished, and merge the rows of all workers.

        Raises:
            RefSegError: the model cannot be used, or the folder is another run's.
        """
        with open_workers() as workers, ExitStack() as stack:
            stack.enter_context(hold_folder(self.folder.folder, 'choose another --out'))
            token = stack.enter_context(token_in(self._out, workers))
            workers.start(SegmentMaker(self.options, self._out, token))
            ((_, about),) = workers.run([_About()])
            self.trained_on = about.trained_on
            found, units = self._plan(pairs, about)
            total = [sum(pair.id not in unit.finished for batch in unit.batches for pair in batch) for unit in units]
            progress = stack.enter_context(self._bar())
            task = progress.add_task('segmenting', total=sum(total))
            segmented = empty = failed = 0
            for index, done in workers.run(units):
                segmented, empty, failed = segmented + done.segmented, empty + done.empty, failed + len(done.failures)
                for failure in done.failures:
                    self._tell_failure(failure)
                progress.advance(task, total[index])
            self.folder.merge(pairs)
        return Counts(segmented, empty, len(found.finished), failed, len(found.replaced))

    def _plan(self, pairs: Sequence[Pair], about: _About) -> tuple[Found, list[_Unit]]:
        """Claim the folder, see what is finished, and cut units.

        Batches are cut from all pairs, whatever is finished: a run that goes on makes up those that were not whole with
        the same members, and its numbers are the same to the last bit. Neighbours share images, and each is to be read
        once: batches that begin with the same image stay together.
        """
        self.folder.begin(about.settings or {}, {'trained_on': about.trained_on})
        with self._bar(transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task('looking for what is finished', total=len(pairs))
            found = self.folder.look(pairs, lambda: progress.advance(task))
        if found.replaced:
            self.folder.discard(pair for pair in pairs if pair.id in found.replaced)
        batches = cut_batches(pairs, self.options.batch_size)
        todo = [batch for batch in batches if not all(pair.id in found.finished for pair in batch)]
        units = []
        for _, together in itertools.groupby(todo, key=lambda batch: batch[0].image):
            group = list(together)
            for first in range(0, len(group), _GROUP):
                part = group[first : first + _GROUP]
                before = {pair.id for batch in part for pair in batch if pair.id in found.finished}
                units.append(_Unit(part, frozenset(before)))
        return found, units

    def _tell_failure(self, failure: _Failure) -> None:
        """Tell a failure; an image that cannot be read is told once for all its expressions."""
        if failure.whole_image and failure.pair.image in self._told:
            return
        if failure.whole_image:
            self._told.add(failure.pair.image)
        self.console.print(plain(f'failed: {failure.reason}'), soft_wrap=True)

    def _bar(self, **options: Any) -> Progress:
        columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        return Progress(*columns, console=self.console, **options)


def _own_folder(out: Path, options: SegmentOptions, apart: bool) -> OutputFolder:
    """The output folder as this process writes into it: with rows of its own where there are others."""
    name = os.environ.get('RANK', f'{socket.gethostname()}-{os.getpid()}')
    return OutputFolder(out, name if apart else None, options.overlays)
