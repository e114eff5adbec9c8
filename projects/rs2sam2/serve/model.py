"""The one model of a service: what arrives together it takes as one batch, in a thread of its own."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from batched.aio import AsyncBatchProcessor

from rs2sam2.errors import RefSegError
from rs2sam2.inference.arguments import Box, Points
from rs2sam2.inference.inferencer import PreparedImage, RefSegInferencer
from rs2sam2.inference.prediction import Prediction, resize_logits
from rs2sam2.inference.results import SegmentationResult
from rs2sam2.serve.metrics import Metrics

GATHER_MS = 5.0
"""How long the first of a batch waits for others."""
NEAR = 4e-6
"""Of the largest log-odds: a pixel that is nearer to the decision could be tipped by the batch's other members.

In fp32 a batch changes log-odds by up to 8e-7 of the largest (`tools/analysis_tools/load_service.py --bits`).
"""
_NEAR_SCORE = 1e-5
T = TypeVar('T')


class Ask(NamedTuple):
    """One expression of one image.

    Attributes:
        inferencer: the model, with the turned copies that are asked for.
        image: prepared by it.
        expression: what to segment.
        box: around the target, or None.
        points: on and beside it, or None.
        min_score: a mask whose score is below is emptied.
    """

    inferencer: RefSegInferencer
    image: PreparedImage
    expression: str
    box: Box | None = None
    points: Points | None = None
    min_score: float | None = None


Outcome = SegmentationResult | Exception


@dataclass(slots=True)
class _Waiting:
    """An ask, and whether somebody still waits for it."""

    ask: Ask
    wanted: bool = True


class SharedModel:
    """A model that requests and scenes share.

    Args:
        inferencer: the model.
        batch_size: expressions that it takes at once, at most.
        metrics: where batches are counted.

    Attributes:
        waiting: expressions that wait, from when their image is decoded, or are in the model.
    """

    def __init__(self, inferencer: RefSegInferencer, batch_size: int, metrics: Metrics) -> None:
        self.inferencer, self.metrics = inferencer, metrics
        self.waiting = 0
        self._thread = ThreadPoolExecutor(1, 'model')
        self._batched = AsyncBatchProcessor(self._forward, batch_size=batch_size, timeout_ms=GATHER_MS)
        self._turned = {inferencer.turning.elements: inferencer}

    def turned(self, tta: str | None) -> RefSegInferencer:
        """The model with turned copies.

        Raises:
            ConfigError: there is no such symmetry.
        """
        if tta is None:
            return self.inferencer
        other = self.inferencer.with_tta(tta)
        return self._turned.setdefault(other.turning.elements, other)

    async def segment(self, asks: Sequence[Ask]) -> list[Outcome]:
        """Segment; each result, or its error, stands where it was asked for.

        Whoever stops waiting is left out of the batches that follow.
        """
        waiting = [_Waiting(ask) for ask in asks]
        try:
            return await self._batched(waiting)
        finally:
            for one in waiting:
                one.wanted = False

    def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Do something in the model's thread, in turn with the batches, and wait for it."""
        return self._thread.submit(work, *arguments).result()

    def close(self) -> None:
        """End the thread after what it does."""
        self._thread.shutdown(cancel_futures=True)

    async def _forward(self, waiting: list[_Waiting]) -> list[Outcome | None]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._outcomes, waiting)

    def _outcomes(self, waiting: list[_Waiting]) -> list[Outcome | None]:
        outcomes: list[Outcome | None] = [None] * len(waiting)
        for members in _groups(waiting):
            self.metrics.batches.observe(len(members))
            found = self._together([waiting[i].ask for i in members])
            for i, outcome in zip(members, found, strict=True):
                outcomes[i] = outcome
        return outcomes

    def _together(self, asks: list[Ask]) -> list[Outcome]:
        """Of asks that may share a batch. What fails, and what a batch could tip, is done again alone."""
        outcomes: dict[int, Outcome] = {}
        inferencer, samples = asks[0].inferencer, {}
        for i, ask in enumerate(asks):
            try:
                samples[i] = inferencer.prepare(ask.image, ask.expression)
            except RefSegError as error:
                outcomes[i] = error
        if not samples:
            return _in_order(outcomes)
        try:
            predictions = inferencer.forward(list(samples.values()), asks[0].box, asks[0].points)
        except Exception as error:  # of a batch, nobody knows yet whose it is
            for i in samples:
                outcomes[i] = error if len(samples) == 1 else self._alone(asks[i])
            return _in_order(outcomes)
        for (i, sample), prediction in zip(samples.items(), predictions, strict=True):
            try:
                (result,) = inferencer.postprocess([prediction], [sample], asks[i].min_score)
            except RefSegError as error:
                outcomes[i] = error
                continue
            tipped = len(samples) > 1 and (_is_near(prediction) or _is_score_near(result, asks[i].min_score))
            outcomes[i] = self._alone(asks[i]) if tipped else result
        return _in_order(outcomes)

    def _alone(self, ask: Ask) -> Outcome:
        self.metrics.alone.inc()
        return self._together([ask])[0]

    @contextmanager
    def counted(self, count: int) -> Iterator[None]:
        """Count expressions as waiting."""
        self.waiting += count
        self.metrics.waiting.set(self.waiting)
        try:
            yield
        finally:
            self.waiting -= count
            self.metrics.waiting.set(self.waiting)


def _in_order(outcomes: dict[int, Outcome]) -> list[Outcome]:
    return [outcomes[i] for i in sorted(outcomes)]


def _groups(waiting: Sequence[_Waiting]) -> list[list[int]]:
    """Which asks may share a batch: those with the same turned copies; clicks and boxes belong to one image."""
    groups: dict[object, list[int]] = {}
    for i, one in enumerate(waiting):
        if one.wanted:
            refined = one.ask.box is not None or one.ask.points is not None
            groups.setdefault(i if refined else one.ask.inferencer.turning.elements, []).append(i)
    return list(groups.values())


def _is_near(prediction: Prediction) -> bool:
    """Whether a pixel is so near to the decision that rounding in another batch could tip it, in fp32.

    In half precision a batch changes the third digit: there, all masks would have to be made again.
    """
    if prediction.precision != 'fp32':
        return False
    resized = resize_logits(prediction.logits, prediction.mask.shape)
    return bool((np.abs(resized) < NEAR * np.abs(prediction.logits).max()).any())


def _is_score_near(result: SegmentationResult, min_score: float | None) -> bool:
    return min_score is not None and abs(result.score - min_score) < _NEAR_SCORE
