"""Which of the objects found is the one that is meant: a reading's words over the whole picture.

The predicates are those that sentences are made by (`semantics`), read without their margins where that is needed: a
picture has a leftmost ship, however close the next one is. What was found may be none of its kind, so that nothing is
certain: the one is taken that is most likely meant. The leftmost is the first from the left that is a ship: an object
is it with the chance that it is one and that none to its left is. Where a landmark is uncertain, so is what lies beside
it: every object that may be the landmark is tried, as likely as it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from rs2sam2.text.reading import Reading, Thing
from rs2sam2.text.reading_words import FARTHEST, NEAREST
from rs2sam2.text.semantics import (
    DIRECTIONS,
    ENDS,
    RRSISD_WORDING,
    SIZES,
    ImageSemantics,
    Part,
    ReferredObject,
    Truth,
)

WITHOUT_MARGINS = replace(
    RRSISD_WORDING, size_margin=1.0, size_slack=1.0, grid_margin=0.0, end_margin=0.0, far_enough=0.0, sure_angle=45.0
)
_WITHIN_MARGINS = 0.5  # how well a word fits that is true only without its margins
_DOUBTFUL = 0.25  # how well one fits that may be said
_UNLIKELY, _TRIED = 0.01, 100  # of the likeliest landmark: less likely ones are not tried, nor are more than so many
_SAME = 0.5  # intersection over union of two boxes from which they are one object

Group = tuple[ReferredObject, ...]


@dataclass(frozen=True)
class Decision:
    """What was chosen.

    Attributes:
        taken: the objects that are meant.
        why: of every object, by its id, what spoke for or against it.
        how: the decision in one sentence.
        chances: of every object that may be meant, by its id, how likely it is.
        landmark: what was decided about the landmark, or None.
    """

    taken: frozenset[int]
    why: dict[int, str]
    how: str
    chances: dict[int, float]
    landmark: 'Decision | None' = None


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
        scores: of every object by its id, 0 to 1: how likely it is what was asked for.
    """
    if reading.landmark is None:
        return _Chooser(reading.target, None, {(): 1.0}, targets, image_size, scores).decide()
    found = _Chooser(reading.landmark, None, {(): 1.0}, landmarks, image_size, scores).decide()
    by_id = {one.object_id: one for one in landmarks}
    if not found.taken:
        why = {one.object_id: 'what it is related to was not found' for one in targets}
        how = f'{reading.landmark.asked!r} was not found: {found.how}'
        return Decision(frozenset(), why, how, {}, found)
    if reading.landmark.several:
        marks = {tuple(by_id[number] for number in sorted(found.taken)): 1.0}
    else:
        best = sorted(found.chances.items(), key=lambda item: -item[1])[:_TRIED]
        marks = {(by_id[number],): chance for number, chance in best if chance >= _UNLIKELY * best[0][1]}
    decision = _Chooser(reading.target, reading.relation, marks, targets, image_size, scores).decide()
    return replace(decision, landmark=found)


class _Chooser:
    """Chooses what a thing's words mean among objects.

    Args:
        thing: what is meant.
        relation: to the landmark, or None.
        marks: what the landmark may be, one object or a group, with its chance; the empty group where there is none.
        objects: that were found.
        image_size: (height, width) of the whole picture.
        scores: of the objects.
    """

    def __init__(
        self,
        thing: Thing,
        relation: str | None,
        marks: dict[Group, float],
        objects: Sequence[ReferredObject],
        image_size: tuple[int, int],
        scores: dict[int, float],
    ) -> None:
        self.thing, self.relation, self.scores = thing, relation, scores
        total = sum(marks.values())
        self.marks = {mark: chance / total for mark, chance in marks.items()}
        self.likeliest = max(marks, key=marks.__getitem__)
        self.objects = list(objects)
        self.semantics = [ImageSemantics(self.objects, image_size, how) for how in (RRSISD_WORDING, WITHOUT_MARGINS)]
        parts = [self._parts(semantics) for semantics in self.semantics]
        self.fits = {
            one.object_id: {
                exact.words: _fit(exact.holds(one), loose.holds(one)) for exact, loose in zip(*parts, strict=True)
            }
            for one in self.objects
        }

    def decide(self) -> Decision:
        """What is meant."""
        why, members = {}, []
        for one in self.objects:
            fits = self.fits[one.object_id]
            beside = self._beside(one, self.likeliest)
            failed = [words for words, fit in fits.items() if not fit]
            if not failed and not beside:
                own = any(_is_same(one, mark) for mark in self.likeliest)
                failed = [f'{self.relation} it'] if not own else []
                why[one.object_id] = 'it is what the target is related to'
            if failed:
                why[one.object_id] = f'not {failed[0]}'
            if beside and not failed:
                members.append(one)
                said = [words if fit == 1 else f'may be {words}' for words, fit in fits.items()]
                said += [f'{self.relation} it'] if self.relation is not None else []
                why[one.object_id] = ', '.join(said) or self.thing.asked
        count = f'{len(self.objects)} found for {self.thing.asked!r}'
        if self.thing.several and self.thing.choice is None and self.relation not in (NEAREST, FARTHEST):
            chances = {one.object_id: self.scores[one.object_id] for one in members}
            how = f'{count}, {len(members)} fit, all are taken' if members else f'{count}, none fits'
            return self._taken(frozenset(chances), why, how, chances)
        chances = self._chances()
        if not chances:
            return self._taken(frozenset(), why, f'{count}, none fits', {})
        taken = max(chances, key=chances.__getitem__)
        for number, chance in chances.items():
            why[number] += f' ({chance:.0%} likely)'
        how = f'{count}, {len(chances)} fit, {self._said(len(chances))} ({chances[taken]:.0%} likely)'
        return self._taken(frozenset({taken}), why, how, chances)

    def _taken(self, taken: frozenset[int], why: dict[int, str], how: str, chances: dict[int, float]) -> Decision:
        return Decision(taken, why | {number: f'taken: {why[number]}' for number in taken}, how, chances)

    def _said(self, count: int) -> str:
        if self.thing.choice is not None:
            return f'the {self.thing.places()[-1]} is taken'
        if self.relation in (NEAREST, FARTHEST):
            return f'the one {self.relation} it is taken'
        if count == 1:
            return 'it is taken'
        return 'the nearest is taken' if self.relation is not None else 'the one with the highest score is taken'

    def _chances(self) -> dict[int, float]:
        """How likely each object is the one that is meant, those that cannot be left out."""
        chances = dict.fromkeys((one.object_id for one in self.objects), 0.0)
        for mark, likely in self.marks.items():
            weights = {
                one.object_id: self.scores[one.object_id]
                * math.prod(self.fits[one.object_id].values())
                * self._beside(one, mark)
                for one in self.objects
            }
            members = [one for one in self.objects if weights[one.object_id]]
            none_before = 1.0
            if self.thing.choice is None and self.relation is None:
                for one in members:
                    chances[one.object_id] = weights[one.object_id]
                continue
            for one in sorted(members, key=partial(self._rank, mark)):
                chances[one.object_id] += likely * none_before * weights[one.object_id]
                none_before *= 1 - weights[one.object_id]
        return {number: chance for number, chance in chances.items() if chance}

    def _rank(self, mark: Group, one: ReferredObject) -> float:
        """What comes first is meant, if it is one."""
        choice = self.thing.choice
        if choice in SIZES:
            return -SIZES[choice] * (one.area or 0.0)
        if choice is not None:
            axis, sign = ENDS[choice]
            return -sign * one.centre[axis]
        return _distance(one, mark) * (-1 if self.relation == FARTHEST else 1)

    def _parts(self, semantics: ImageSemantics) -> list[Part]:
        """What each of the words says of an object."""
        thing, parts = self.thing, []
        if thing.colour is not None:
            parts.append(semantics.coloured(thing.colour))
        if thing.size is not None and self.objects:
            parts.append(semantics.sized(thing.size, self.objects[0].category))
        if thing.cell is not None:
            parts.append(semantics.in_cell(*thing.cell))
        return parts

    def _beside(self, one: ReferredObject, mark: Group) -> float:
        """How well an object's place beside a landmark fits the relation, 0 to 1."""
        if any(_is_same(one, other) for other in mark):
            return 0.0
        if self.relation not in DIRECTIONS:
            return 1.0
        index = DIRECTIONS.index(self.relation)
        return max(_fit(*(semantics.beside(index, other)(one) for semantics in self.semantics)) for other in mark)


def _fit(exact: Truth, loose: Truth) -> float:
    if loose is False:
        return 0.0
    return 1.0 if exact else _WITHIN_MARGINS if loose else _DOUBTFUL


def _distance(one: ReferredObject, group: Group) -> float:
    """From the nearest of a group: the gap between the boxes, and a little of that between the centres."""
    return min(_gap(one, other) + 0.05 * math.dist(one.centre, other.centre) for other in group)


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
