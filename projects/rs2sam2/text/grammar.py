"""Referring expressions in the pattern family of RRSIS-D, each unambiguous in its image.

`semantics` says what is unambiguous; here sentences are chosen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rs2sam2.text.colours import COLOURS, measure_colour
from rs2sam2.text.number import plural
from rs2sam2.text.semantics import (
    CELLS,
    DIRECTIONS,
    ENDS,
    MOST,
    RRSISD_WORDING,
    SHAPES,
    ImageSemantics,
    Phrase,
    ReferredObject,
    Wording,
)

__all__ = ['COLOURS', 'ReferredObject', 'ReferringExpression', 'Wording', 'absent_expression', 'describe_objects']
__all__ += ['GroupExpression', 'absent_group', 'describe_groups', 'measure_colour', 'vocabulary']


@dataclass(frozen=True)
class ReferringExpression:
    """A sentence that means exactly one object of its image.

    Attributes:
        object_id: the object that is meant.
        text: the sentence.
        kinds: what it tells the object by: 'class' and any of 'colour', 'size', 'shape', 'position', 'relation'.
        minimal: no word could be left out without making it ambiguous.
    """

    object_id: int
    text: str
    kinds: frozenset[str]
    minimal: bool


@dataclass(frozen=True)
class GroupExpression:
    """A sentence that means every object of a kind in its image, be it one or several.

    Attributes:
        object_ids: the objects that are meant.
        text: the sentence.
        kinds: as of `ReferringExpression`.
    """

    object_ids: tuple[int, ...]
    text: str
    kinds: frozenset[str]


def vocabulary(categories: Iterable[str]) -> list[str]:
    """Every word of the grammar's sentences about these classes, also as a sentence begins, sorted."""
    words = {word for phrase in (*categories, *SHAPES.values(), *COLOURS) for word in phrase.split()}
    words |= {f'{category}s'.split()[-1] for category in categories}
    words |= {word for row in CELLS for cell in row for word in cell.split()}
    words |= {word for direction in DIRECTIONS for word in direction.split()}
    words |= {*ENDS, *MOST.values(), 'a', 'an', 'the', 'is', 'one', 'of', 'two'}
    words |= {'large', 'larger', 'largest', 'small', 'smaller', 'smallest'}
    return sorted(words | {'A', 'An', 'The'})


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]


def describe_objects(
    objects: Sequence[ReferredObject],
    image_size: tuple[int, int],
    rng: np.random.Generator,
    per_object: int = 3,
    wording: Wording = RRSISD_WORDING,
) -> list[ReferringExpression]:
    """Unambiguous referring expressions for the objects of one image.

    Args:
        objects: all objects of the image that a sentence could mean, not only the ones to be described: whatever is
            missing here is not ruled out.
        image_size: (height, width) in pixels.
        rng: drives the choice among all valid expressions; equal states give equal sentences.
        per_object: at most this many different expressions for each object.
        wording: how freely the words are used.

    Returns:
        The expressions in the order of `objects`. An object that no expression of the grammar tells from the others
        has none.

    Raises:
        ValueError: two objects have the same id.
    """
    if len({o.object_id for o in objects}) != len(objects):
        raise ValueError('object ids must be unique in an image')
    semantics = ImageSemantics(objects, image_size, wording)
    plain = {target.object_id: semantics.phrases(target) for target in objects}
    shortest = {
        key: [p for p in phrases if len(p.parts) == len(phrases[0].parts)][:3] for key, phrases in plain.items()
    }
    landmarks = {
        key: [p for p in phrases if not any(part.slot == 'choice' for part in p.parts)]
        for key, phrases in shortest.items()
    }
    result = []
    for target in objects:
        phrases = plain[target.object_id] + semantics.related_phrases(target, landmarks)
        result += _choose(target, phrases, rng, per_object, wording)
    return result


def _choose(
    target: ReferredObject, phrases: list[Phrase], rng: np.random.Generator, number: int, wording: Wording
) -> list[ReferringExpression]:
    """Draws different expressions, kinds first, so that a kind with many phrases does not crowd out the others."""
    keys = [frozenset(phrase.parts) for phrase in phrases]
    groups: dict[tuple[bool, tuple[str, ...]], list[Phrase]] = {}
    for phrase, key in zip(phrases, keys, strict=True):
        minimal = not any(other < key for other in keys)
        kinds = tuple(sorted({'class'} | {part.kind for part in phrase.parts}))
        groups.setdefault((minimal, kinds), []).append(phrase)
    chosen: dict[str, ReferringExpression] = {}
    while groups and len(chosen) < number:
        names = list(groups)
        weights = np.array([(1.0 if minimal else 0.3) / len(kinds) for minimal, kinds in names])
        name = names[rng.choice(len(names), p=weights / weights.sum())]
        phrase = groups[name].pop(rng.integers(len(groups[name])))
        if not groups[name]:
            del groups[name]
        text = _sentence(phrase.words(rng, wording.swapped))
        chosen.setdefault(text, ReferringExpression(target.object_id, text, frozenset(name[1]), name[0]))
    return list(chosen.values())


def describe_groups(
    objects: Sequence[ReferredObject],
    image_size: tuple[int, int],
    rng: np.random.Generator,
    number: int = 1,
    wording: Wording = RRSISD_WORDING,
) -> list[GroupExpression]:
    """Sentences that mean all objects of a kind: 'All ships', 'The gray ships on the left'.

    A sentence is kept only if every object of the image certainly satisfies it or certainly does not.

    Args:
        objects: all objects of the image.
        image_size: (height, width) in pixels.
        rng: drives the choice, kinds of sentences first.
        number: at most this many sentences.
        wording: how freely the words are used.
    """
    semantics = ImageSemantics(objects, image_size, wording)
    groups: dict[tuple[str, ...], dict[tuple[str, frozenset], tuple[Phrase, tuple[int, ...]]]] = {}
    for target in objects:
        plain = [part for part in (*semantics.colour(target), *semantics.size(target)) if part.holds(target)]
        cells = [part for part in semantics.cell(target) if part.holds(target)]
        for parts in [(), *((part,) for part in plain), *((cell,) for cell in cells)] + [
            (part, cell) for part in plain for cell in cells
        ]:
            phrase = Phrase(target.category, parts)
            truths = [phrase.holds(other) for other in objects]
            if None in truths:
                continue
            meant = tuple(o.object_id for o, truth in zip(objects, truths, strict=True) if truth)
            kinds = tuple(sorted({'class'} | {part.kind for part in parts}))
            groups.setdefault(kinds, {})[target.category, frozenset(parts)] = phrase, meant
    chosen: list[GroupExpression] = []
    while groups and len(chosen) < number:
        names = sorted(groups)
        kinds = names[rng.integers(len(names))]
        keys = list(groups[kinds])
        phrase, meant = groups[kinds].pop(keys[rng.integers(len(keys))])
        if not groups[kinds]:
            del groups[kinds]
        chosen.append(GroupExpression(meant, _group_sentence(phrase.words(), len(meant), rng), frozenset(kinds)))
    return chosen


def _group_sentence(words: str, number: int, rng: np.random.Generator) -> str:
    """'the gray ship on the left' -> 'All gray ships on the left'."""
    for cell in (cell for row in CELLS for cell in row):
        if words.endswith(f' {cell}'):
            words, tail = words.removesuffix(f' {cell}'), f' {cell}'
            break
    else:
        tail = ''
    first = 'All' if number < 2 else ('All', 'All the', 'The')[rng.integers(3)]
    return f'{first} {plural(words.removeprefix("the "))}{tail}'


def absent_group(
    objects: Sequence[ReferredObject],
    absent: Sequence[str],
    rng: np.random.Generator,
    colours: Sequence[str] = COLOURS[:9],
) -> str | None:
    """'All white bridges', of which the image shows none: none of the class, or none of the colour.

    Args:
        objects: all objects of the image.
        absent: classes that it does not show.
        rng: drives the choice.
        colours: those that objects may have.

    Returns:
        The sentence, or None where nothing is certainly absent.
    """
    semantics = ImageSemantics(objects, (1, 1))
    unlike = [
        (category, colour)
        for category in sorted({one.category for one in objects})
        for colour in colours
        if all(semantics.coloured(colour).holds(one) is False for one in objects if one.category == category)
    ]
    if unlike and (not absent or rng.random() < 0.4):
        category, colour = unlike[rng.integers(len(unlike))]
        return _group_sentence(f'the {colour} {category}', 0, rng)
    if not absent:
        return None
    return _group_sentence(absent_expression(absent[int(rng.integers(len(absent)))], rng, colours).lower(), 0, rng)


def absent_expression(
    category: str, rng: np.random.Generator, colours: Sequence[str] = COLOURS[:9], sized: bool = True
) -> str:
    """A sentence about a class that its image does not show, in the same words as the true ones.

    Args:
        category: class name as it is said, singular.
        rng: drives the choice of the words.
        colours: those that the class may have; none when its colour is never said.
        sized: whether its size is ever said.
    """
    words = [str(rng.choice(['large', 'small']))] if rng.random() < 0.25 and sized else []
    words += [str(rng.choice(colours))] if rng.random() < 0.4 and len(colours) else []
    words += [category]
    words += [CELLS[rng.integers(3)][rng.integers(3)]] if rng.random() < 0.5 else []
    return _sentence(' '.join(['the', *words]))
