"""Referring expressions in the pattern family of RRSIS-D, each unambiguous in its image.

`semantics` says what is unambiguous; here sentences are chosen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rs2sam2.text.colours import COLOURS, measure_colour
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
__all__ += ['measure_colour', 'vocabulary']


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
