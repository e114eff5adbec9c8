"""Which of the objects found is the one that is meant: a reading's words over the whole picture.

The predicates are those that sentences are made by (`semantics`). First it is asked what is certain. Where that leaves
none or several, the same predicates are read without their margins: a picture has a leftmost ship, however close the
next one is.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rs2sam2.text.reading import Reading, Thing
from rs2sam2.text.reading_words import FARTHEST, NEAREST, Choice
from rs2sam2.text.semantics import DIRECTIONS, ENDS, RRSISD_WORDING, ImageSemantics, ReferredObject, Truth, Wording

WITHOUT_MARGINS = replace(
    RRSISD_WORDING, size_margin=1.0, size_slack=1.0, grid_margin=0.0, end_margin=0.0, far_enough=0.0, sure_angle=45.0
)
_SURE = 0.9  # of the highest score: what scores less is taken for one thing only where nothing else fits
_SAME = 0.5  # intersection over union of two boxes from which they are one object


@dataclass(frozen=True)
class Decision:
    """What was chosen.

    Attributes:
        taken: the objects that are meant.
        why: of every object, by its id, what spoke for or against it.
        how: the decision in one sentence.
    """

    taken: frozenset[int]
    why: dict[int, str]
    how: str


def choose(
    reading: Reading,
    targets: Sequence[ReferredObject],
    landmarks: Sequence[ReferredObject],
    image_size: tuple[int, int],
    scores: dict[int, float],
) -> Decision:
    """Choose among the objects that were found.

    Args:
        reading: of the sentence.
        targets: the objects found for the target's question.
        landmarks: those for the landmark's, their ids others than the targets', unless the question is the same.
        image_size: (height, width) of the whole picture, in the units of the boxes.
        scores: of every object by its id, 0 to 1: of several that fit, the highest is taken.
    """
    marks: list[ReferredObject] = []
    if reading.landmark is not None:
        found = _Chooser(reading.landmark, None, [], landmarks, image_size, scores).decide()
        marks = [one for one in landmarks if one.object_id in found.taken]
        if not marks:
            why = {one.object_id: 'what it is related to was not found' for one in targets}
            return Decision(frozenset(), why, f'{reading.landmark.asked!r} was not found: {found.how}')
    return _Chooser(reading.target, reading.relation, marks, targets, image_size, scores).decide()


class _Chooser:
    """Chooses what a thing's words mean among objects."""

    def __init__(
        self,
        thing: Thing,
        relation: str | None,
        marks: Sequence[ReferredObject],
        objects: Sequence[ReferredObject],
        image_size: tuple[int, int],
        scores: dict[int, float],
    ) -> None:
        self.thing, self.relation, self.marks, self.scores = thing, relation, marks, scores
        self.image_size = image_size
        self.objects = [one for one in objects if not any(_is_same(one, mark) for mark in marks)]
        self.why = {one.object_id: 'it is what the target is related to' for one in objects}

    def decide(self) -> Decision:
        """What is meant."""
        sure = self._truths(RRSISD_WORDING)
        loose = self._truths(WITHOUT_MARGINS)
        for one in self.objects:
            failed = [words for words, truth in loose[one.object_id].items() if truth is False]
            self.why[one.object_id] = f'not {failed[0]}' if failed else self._fitting(sure[one.object_id])
        members = [one for one in self.objects if False not in loose[one.object_id].values()]
        count = f'{len(self.objects)} found for {self.thing.asked!r}'
        if not members:
            return self._taken([], f'{count}, none fits')
        count += f', {len(members)} fit'
        if not self.thing.several:
            members = self._without_doubtful(members)
        if self.thing.choice is not None:
            chosen = self._choice(self.thing.choice, members)
            return self._taken([chosen], f'{count}, the {self._choice_words()} is taken')
        if self.relation in (NEAREST, FARTHEST):
            chosen = min(members, key=lambda one: self._distance(one) * (1 if self.relation == NEAREST else -1))
            return self._taken([chosen], f'{count}, the one {self.relation} it is taken')
        if self.thing.several:
            return self._taken(members, f'{count}, all are taken')
        return self._one_of(members, sure, loose, count)

    def _without_doubtful(self, members: list[ReferredObject]) -> list[ReferredObject]:
        """Those that the model is about as sure of as of its best find, where there are any."""
        least = _SURE * max(self.scores[one.object_id] for one in self.objects)
        sure = [one for one in members if self.scores[one.object_id] >= least]
        if not sure:
            return members
        for one in members:
            if self.scores[one.object_id] < least:
                self.why[one.object_id] += ', but the model is less sure of it'
        return sure

    def _one_of(
        self, members: list[ReferredObject], sure: dict[int, dict], loose: dict[int, dict], count: str
    ) -> Decision:
        certain = [one for one in members if set(sure[one.object_id].values()) <= {True}]
        if len(certain) == 1 and (self.relation is None or len(members) == 1):
            return self._taken(certain, f'{count}, one of them certainly')
        left = [one for one in members if set(loose[one.object_id].values()) <= {True}] or members
        if len(left) == 1:
            return self._taken(left, f'{count}, one of them best')
        if self.relation is not None:
            return self._taken([min(left, key=self._distance)], f'{count}, the nearest of {len(left)} is taken')
        best = max(left, key=lambda one: self.scores[one.object_id])
        return self._taken([best], f'{count}, of {len(left)} alike the one with the highest score is taken')

    def _taken(self, chosen: list[ReferredObject], how: str) -> Decision:
        for one in chosen:
            self.why[one.object_id] = f'taken: {self.why[one.object_id]}'
        return Decision(frozenset(one.object_id for one in chosen), self.why, how)

    def _truths(self, wording: Wording) -> dict[int, dict[str, Truth]]:
        """Of every object, what each of the words says."""
        semantics = ImageSemantics(self.objects, self.image_size, wording)
        thing, tests = self.thing, {}
        if thing.colour is not None:
            tests[thing.colour] = semantics.coloured(thing.colour).holds
        if thing.size is not None and self.objects:
            tests[thing.size] = semantics.sized(thing.size, self.objects[0].category).holds
        if thing.cell is not None:
            part = semantics.in_cell(*thing.cell)
            tests[part.words] = part.holds
        if self.relation in DIRECTIONS:
            tests[f'{self.relation} it'] = self._any_mark(semantics, DIRECTIONS.index(self.relation))
        return {one.object_id: {words: holds(one) for words, holds in tests.items()} for one in self.objects}

    def _any_mark(self, semantics: ImageSemantics, index: int) -> Callable[[ReferredObject], Truth]:
        tests = [semantics.beside(index, mark) for mark in self.marks]

        def holds(candidate: ReferredObject) -> Truth:
            truths = [test(candidate) for test in tests]
            return True if True in truths else None if None in truths else False

        return holds

    def _choice(self, word: Choice, members: list[ReferredObject]) -> ReferredObject:
        if len(members) == 1:
            return members[0]
        semantics = ImageSemantics(members, self.image_size, WITHOUT_MARGINS)
        leads = semantics.leading(word, members) if word in ENDS else semantics.outranking(word, members)
        return next(one for one in members if leads(one))

    def _choice_words(self) -> str:
        return self.thing.places()[-1]

    def _distance(self, one: ReferredObject) -> float:
        """From the nearest landmark: the gap between the boxes, and a little of that between the centres."""
        return min(_gap(one, mark) + 0.05 * math.dist(one.centre, mark.centre) for mark in self.marks)

    def _fitting(self, truths: dict[str, Truth]) -> str:
        said = [words if truth else f'may be {words}' for words, truth in truths.items()]
        return ', '.join(said) or self.thing.asked


def _gap(a: ReferredObject, b: ReferredObject) -> float:
    """Between the edges of two boxes, 0 where they touch."""
    across = max(a.bbox[0] - b.bbox[2], b.bbox[0] - a.bbox[2], 0.0)
    along = max(a.bbox[1] - b.bbox[3], b.bbox[1] - a.bbox[3], 0.0)
    return math.hypot(across, along)


def _is_same(a: ReferredObject, b: ReferredObject) -> bool:
    """Whether two objects, found by different questions, are one."""
    if a is b:
        return True
    width = min(a.bbox[2], b.bbox[2]) - max(a.bbox[0], b.bbox[0])
    height = min(a.bbox[3], b.bbox[3]) - max(a.bbox[1], b.bbox[1])
    if width <= 0 or height <= 0:
        return False
    areas = [(one.bbox[2] - one.bbox[0]) * (one.bbox[3] - one.bbox[1]) for one in (a, b)]
    return width * height > _SAME * (sum(areas) - width * height)
