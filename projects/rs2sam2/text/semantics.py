"""What the words of a referring expression mean in one image, and whether they mean one object alone.

An expression is a set of predicates over the objects of one image. A predicate is three-valued: an object satisfies
it, does not, or may (its centre lies near a grid line, two sizes are almost equal, its colour is unknown). An
expression is kept only if its object certainly satisfies every predicate and each other object certainly fails at
least one, so a borderline object is neither described by a doubtful word nor ruled out by one.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

SHAPES = {'ground track field': 'oval', 'storage tank': 'rounded'}
SHAPES |= {'tennis court': 'rectangular', 'basketball court': 'rectangular'}
# Words that two people would exchange: they never tell two objects apart.
_EXCHANGEABLE = {
    frozenset(pair)
    for word, others in {
        'gray': ('white', 'black'),
        'brown': ('red', 'orange', 'yellow'),
        'orange': ('red', 'yellow'),
        'green': ('yellow', 'cyan'),
        'blue': ('cyan', 'purple'),
        'red': ('purple',),
    }.items()
    for pair in ((word, other) for other in others)
}
CELLS = (
    ('on the upper left', 'on the top', 'on the upper right'),
    ('on the left', 'in the middle', 'on the right'),
    ('on the lower left', 'at the bottom', 'on the lower right'),
)
DIRECTIONS: tuple[str, ...] = ('on the right of', 'on the lower right of', 'below', 'on the lower left of')
DIRECTIONS += ('on the left of', 'on the upper left of', 'above', 'on the upper right of')
ENDS = {'left': (0, -1), 'right': (0, 1), 'upper': (1, -1), 'lower': (1, 1)}
SIZES = {'large': 1, 'small': -1}
MOST = {'left': 'leftmost', 'right': 'rightmost', 'upper': 'topmost', 'lower': 'bottommost'}

Truth = bool | None
"""True, False, or None: may be either."""


@dataclass(frozen=True)
class ReferredObject:
    """What the grammar knows about one object of an image.

    Attributes:
        object_id: unique in the image.
        category: class name as it is said, singular: 'storage tank'.
        bbox: x1, y1, x2, y2 in pixels.
        area: of the mask, in pixels; None when it says nothing about the object's size (it is cut, or its outline is
            a matter of taste): then no size word is used of it, and none rules it out.
        colour: one of `COLOURS`, or None when unknown (see `measure_colour`).
    """

    object_id: int
    category: str
    bbox: tuple[float, float, float, float]
    area: float | None
    colour: str | None = None

    @property
    def centre(self) -> tuple[float, float]:
        """Centre (x, y) of the box, in pixels."""
        return (self.bbox[0] + self.bbox[2]) / 2, (self.bbox[1] + self.bbox[3]) / 2


@dataclass(frozen=True)
class Wording:
    """How freely the words are used.

    Attributes:
        size_margin: ratio of areas from which an object is certainly larger than another.
        swapped: share of sentences with two adjectives that has them as RRSIS-D often does: 'the gray large ship'.
        most_of_two: whether one of two may be 'the largest'.
        whole_leads: whether 'the leftmost' must lead with both its edges, not with its centre alone: a bridge across
            the image is left of nothing.
        size_slack: beside the mean of the class, up to which ratio an object is certainly not 'large'.
        grid_margin: of the image's side: this near a line of the 3x3 grid nothing is certain.
        end_margin: of the image's side: by how much 'the leftmost' must lead.
        far_enough: of the image's shorter side: nearer objects have no certain direction from each other.
        sure_angle: degrees off a direction up to which it is certain.
    """

    size_margin: float = 1.3
    swapped: float = 0.3
    most_of_two: bool = True
    whole_leads: bool = False
    size_slack: float = 0.9
    grid_margin: float = 0.04
    end_margin: float = 0.08
    far_enough: float = 0.12
    sure_angle: float = 16.0


RRSISD_WORDING = Wording()
"""As RRSIS-D's sentences are."""


@dataclass(frozen=True)
class Part:
    """One modifier: its words, its place in the sentence, and its meaning."""

    slot: str  # a kind, or 'choice' for words that pick one object of a group, said before all others
    words: str
    holds: Callable[[ReferredObject], Truth] = field(compare=False)
    kind: str = ''


@dataclass(frozen=True)
class Phrase:
    """A class with modifiers."""

    category: str
    parts: tuple[Part, ...]

    def holds(self, candidate: ReferredObject) -> Truth:
        """Whether an object is of the class and satisfies every modifier."""
        if candidate.category != self.category:
            return False
        truths = [part.holds(candidate) for part in self.parts]
        return False if False in truths else None if None in truths else True

    def words(self, rng: np.random.Generator | None = None, swapped: float = 0.0) -> str:
        """The phrase with its article; with `rng` indefinite at times, and adjectives swapped (`Wording.swapped`)."""
        said = {part.slot: part.words for part in self.parts}
        noun = [said[slot] for slot in ('size', 'shape', 'colour') if slot in said] + [self.category]
        tail = [said[slot] for slot in ('position', 'relation') if slot in said]
        if rng is not None and len(noun) == 3 and rng.random() < swapped:
            noun[:2] = noun[1::-1]
        if 'choice' in said:
            return ' '.join([said['choice'].replace('*', ' '.join(noun)), *tail])
        article = 'the'
        if rng is not None and rng.random() < 0.27:
            article = 'an' if noun[0][0] in 'aeiou' else 'a'
        if rng is not None and 'relation' in said and rng.random() < 0.6:
            tail[-1] = f'is {tail[-1]}'
        return ' '.join([article, *noun, *tail])


class ImageSemantics:
    """What the words mean in one image."""

    def __init__(
        self, objects: Sequence[ReferredObject], image_size: tuple[int, int], wording: Wording = RRSISD_WORDING
    ) -> None:
        self.objects = objects
        self.wording = wording
        self.height, self.width = image_size

    def means_one(self, phrase: Phrase, target: ReferredObject) -> bool:
        """Whether the phrase certainly means `target` and certainly nothing else."""
        others_fail = all(phrase.holds(other) is False for other in self.objects if other is not target)
        return others_fail and phrase.holds(target) is True

    def colour(self, target: ReferredObject) -> Iterator[Part]:
        """'red'."""
        if target.colour is not None:
            yield self.coloured(target.colour)

    def coloured(self, word: str) -> Part:
        """A colour word; objects of unknown colour may have it, and those that people would call by either."""

        def holds(candidate: ReferredObject) -> Truth:
            if candidate.colour == word:
                return True
            doubtful = candidate.colour is None or frozenset((candidate.colour, word)) in _EXCHANGEABLE
            return None if doubtful else False

        return Part('colour', word, holds, 'colour')

    def size(self, target: ReferredObject) -> Iterator[Part]:
        """'large' or 'small'."""
        if target.area is not None:
            yield from (self.sized(word, target.category) for word in SIZES)

    def sized(self, word: str, category: str) -> Part:
        """'large' or 'small': beside the geometric mean of the class in this image."""
        areas = [o.area for o in self.objects if o.category == category and o.area is not None]
        mean = math.exp(sum(math.log(max(area, 1.0)) for area in areas) / max(1, len(areas)))

        def holds(candidate: ReferredObject) -> Truth:
            if candidate.area is None:
                return None
            ratio = (max(candidate.area, 1.0) / mean) ** SIZES[word]
            return True if ratio >= self.wording.size_margin else False if ratio <= self.wording.size_slack else None

        return Part('size', word, holds, 'size')

    def shape(self, target: ReferredObject) -> Iterator[Part]:
        """'oval': a word that fits every object of the class, so it never tells two apart."""
        if target.category in SHAPES:
            yield Part('shape', SHAPES[target.category], lambda candidate: True, 'shape')

    def cell(self, target: ReferredObject) -> Iterator[Part]:
        """'on the upper left': the nine fields of the 3x3 grid."""
        yield from (self.in_cell(row, column) for row, column in np.ndindex(3, 3))

    def in_cell(self, row: int, column: int) -> Part:
        """One field of the grid; 'on the left' may also be said of a left corner."""
        margin = self.wording.grid_margin

        def holds(candidate: ReferredObject) -> Truth:
            x, y = candidate.centre
            in_column, in_row = _in_third(x / self.width, column, margin), _in_third(y / self.height, row, margin)
            needed = [t for t, third in ((in_column, column), (in_row, row)) if third != 1 or row == column]
            if False in needed:
                return False
            return True if in_column and in_row else None

        return Part('position', CELLS[row][column], holds, 'position')

    def end(self, group: Phrase, number: int) -> Iterator[Part]:
        """'the leftmost' of a group, 'the left one of the two'."""
        members = [member for member in self.objects if group.holds(member) is not False]
        for word in ENDS:
            holds = self.leading(word, members)
            yield Part('choice', f'the {MOST[word]} *', holds, 'position')
            if number == 2:
                yield Part('choice', f'the {word} one of the two *s', holds, 'position')

    def leading(self, word: str, members: Sequence[ReferredObject]) -> Callable[[ReferredObject], Truth]:
        """Whether one of several members is the one at an end (`ENDS`)."""
        axis, sign = ENDS[word]
        margin = self.wording.end_margin * (self.width, self.height)[axis]

        def holds(candidate: ReferredObject) -> Truth:
            others = [m for m in members if m is not candidate]
            lead = min(sign * (candidate.centre[axis] - m.centre[axis]) for m in others)
            edges = [sign * (candidate.bbox[e] - m.bbox[e]) for m in others for e in (axis, axis + 2)]
            if self.wording.whole_leads and lead >= margin and min(edges) < 0:
                return None
            return True if lead >= margin else False if lead <= -margin else None

        return holds

    def rank(self, group: Phrase, number: int) -> Iterator[Part]:
        """'the largest' of a group, 'the smaller one of the two'."""
        members = [member for member in self.objects if group.holds(member) is not False]
        if any(member.area is None for member in members):
            return
        for word in SIZES:
            holds = self.outranking(word, members)
            stem = word.removesuffix('e')
            if number > 2 or self.wording.most_of_two:
                yield Part('choice', f'the {stem}est *', holds, 'size')
            if number == 2:
                yield Part('choice', f'the {stem}er one of the two *s', holds, 'size')

    def outranking(self, word: str, members: Sequence[ReferredObject]) -> Callable[[ReferredObject], Truth]:
        """Whether one of several members, all of known area, is the largest or the smallest (`SIZES`)."""
        margin = self.wording.size_margin
        areas = [(member, member.area) for member in members if member.area is not None]

        def holds(candidate: ReferredObject) -> Truth:
            if candidate.area is None:
                return None
            ratios = [(candidate.area / max(area, 1.0)) ** SIZES[word] for m, area in areas if m is not candidate]
            return True if min(ratios) >= margin else False if min(ratios) <= 1 / margin else None

        return holds

    def relation(self, target: ReferredObject, landmark: ReferredObject, words: str) -> Iterator[Part]:
        """'above the harbor'."""
        for index, direction in enumerate(DIRECTIONS):
            yield Part('relation', f'{direction} {words}', self.beside(index, landmark), 'relation')

    def beside(self, index: int, landmark: ReferredObject) -> Callable[[ReferredObject], Truth]:
        """Whether an object lies in a direction (of `DIRECTIONS`) from another: the direction between the centres.

        'Above' may be said up to 75 degrees off.
        """
        nearest = self.wording.far_enough * min(self.width, self.height)

        def holds(candidate: ReferredObject) -> Truth:
            dx, dy = (c - m for c, m in zip(candidate.centre, landmark.centre, strict=True))
            if candidate is landmark:
                return False
            if math.hypot(dx, dy) < nearest:
                return None
            off = abs((math.degrees(math.atan2(dy, dx)) - 45 * index + 180) % 360 - 180)
            return True if off <= self.wording.sure_angle else False if off > (45 if index % 2 else 75) else None

        return holds

    def phrases(self, target: ReferredObject) -> list[Phrase]:
        """All phrases without relations that mean `target` alone, shortest first."""
        plain = [*self.colour(target), *self.size(target), *self.shape(target)]
        plain = [part for part in plain if part.holds(target)]
        heads = [Phrase(target.category, parts) for n in range(4) for parts in combinations(plain, n)]
        cells = [part for part in self.cell(target) if part.holds(target)]
        candidates = heads + [Phrase(head.category, (*head.parts, cell)) for head in heads for cell in cells]
        for head in heads:
            slots = {part.slot for part in head.parts}
            truths = [head.holds(other) for other in self.objects]
            if None in truths or truths.count(True) < 2 or 'size' in slots or 'shape' in slots:
                continue
            number = truths.count(True)
            for choice in (*self.end(head, number), *self.rank(head, number)):
                candidates.append(Phrase(head.category, (*head.parts, choice)))
        return sorted((p for p in candidates if self.means_one(p, target)), key=lambda phrase: len(phrase.parts))

    def related_phrases(self, target: ReferredObject, landmarks: dict[int, list[Phrase]]) -> list[Phrase]:
        """All phrases that mean `target` by its direction from another object, with at most one adjective."""
        plain = [part for part in (*self.colour(target), *self.size(target)) if part.holds(target)]
        found = []
        for landmark in self.objects:
            for phrase in landmarks[landmark.object_id] if landmark is not target else ():
                for relation in self.relation(target, landmark, phrase.words()):
                    if relation.holds(target):
                        related = [Phrase(target.category, (*extra, relation)) for extra in [(), *zip(plain)]]
                        found += [phrase for phrase in related if self.means_one(phrase, target)]
        return found


def _in_third(value: float, third: int, margin: float) -> Truth:
    """Whether a coordinate in 0..1 lies in the third 0, 1 or 2; None within `margin` of its border."""
    borders = [border for border, inner in ((third / 3, third > 0), ((third + 1) / 3, third < 2)) if inner]
    if any(abs(value - border) < margin for border in borders):
        return None
    return min(int(value * 3), 2) == third
