"""Referring expressions that turn with their picture: the sentence that says the same of the turned one.

The eight symmetries of the square act on sentences: a sentence turned there and back is itself again, letter by letter,
and two quarter turns are a half turn. What has no exact counterpart is refused.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from rs2sam2.errors import ConfigError, TurnError
from rs2sam2.symmetry import SYMMETRIES, Symmetry, find_symmetry
from rs2sam2.text.direction_words import (
    ADJECTIVES,
    DOUBTFUL,
    FOREIGN,
    FRAMES,
    FUNCTION_WORDS,
    HARMLESS,
    LINES,
    NO_LANDMARKS,
    ORDINALS,
    OWN_SIDES,
    SIDE_NOUNS,
    TOPS,
    WIND_LETTERS,
    Family,
    Use,
    families,
)

_WORD = re.compile(r"[^\W\d_]+(?:[-'\u2019][^\W\d_]+)*|\d+")
_CLOCK = re.compile(r"\bo\s?['\u2019]?\s?clock\b|\b\d{1,2}:\d\d\b|\bclockwise\b|\bdegrees?\b|\u00b0", re.IGNORECASE)
_LONGEST = 5


@dataclass(frozen=True)
class _Word:
    """A word of a sentence: as typed, in small letters, where it is, and whether only blanks stand before it."""

    text: str
    lower: str
    start: int
    end: int
    joined: bool


@dataclass(frozen=True)
class _Found:
    """A phrase of the table in a sentence: its words from `first` on, before `last`."""

    first: int
    last: int
    family: Family
    vector: tuple[int, int]


@lru_cache(maxsize=65536)
def turn(sentence: str, element: str, top: str = 'at the top') -> str:
    """The sentence that says of the turned picture what the given one says of the picture.

    Args:
        sentence: English.
        element: one of `rs2sam2.symmetry.SYMMETRIES`.
        top: how the data says where an object is: 'at the top', or, as RRSIS-D does, 'on the top'. "On the left"
            becomes that, and the other one "at the left".

    Raises:
        TurnError: it has no exact counterpart, or it is doubtful what a word of it means; `reason` says why.
        ConfigError: there is no such element, or `top` is neither.
    """
    symmetry = find_symmetry(element)
    if top not in TOPS:
        raise ConfigError(f'top={top!r}: there are {" and ".join(map(repr, TOPS))}')
    if symmetry.name == 'identity':
        return sentence
    turned = _turn(sentence, symmetry, top)
    # Two phrases with one counterpart would not tell where it came from.
    if _turn(turned, symmetry.inverse, top) != sentence:
        raise _refusal(sentence, symmetry, 'no exact counterpart', f'{turned!r} would be turned back to another')
    return turned


class DirectionPhrase(NamedTuple):
    """A phrase of direction in a sentence.

    Attributes:
        start: its first character.
        end: after its last one.
        use: what stands around it, see `Family`.
        vector: where it points, x to the right, y down.
    """

    start: int
    end: int
    use: Use
    vector: tuple[int, int]


def direction_phrases(sentence: str) -> list[DirectionPhrase]:
    """The phrases of the table that a sentence holds, from left to right; words of direction in no phrase are none."""
    words = _words(sentence)
    return [
        DirectionPhrase(words[one.first].start, words[one.last - 1].end, one.family.use, one.vector)
        for one in _find(words, _table(TOPS[0]))
    ]


def turns(sentence: str, top: str = 'at the top') -> dict[str, str]:
    """The sentence turned by every element that it can be turned by, the identity first."""
    found = {}
    for element in SYMMETRIES:
        try:
            found[element] = turn(sentence, element, top)
        except TurnError:
            continue
    return found


def _turn(sentence: str, symmetry: Symmetry, top: str) -> str:
    words = _words(sentence)
    _check_language(sentence, words, symmetry)
    found = list(_find(words, _table(top)))
    within = {index for one in found for index in range(one.first, one.last)}
    _check_rest(sentence, words, within, symmetry)
    pieces, done = [], 0
    for one in found:
        said = words[one.first : one.last]
        new = one.family.says.get(symmetry.direction(one.vector))
        if new is None:
            phrase = ' '.join(word.text for word in said)
            raise _refusal(sentence, symmetry, 'no exact counterpart', f'{phrase!r}')
        old = sentence[said[0].start : said[-1].end]
        between = sentence[done : said[0].start]
        pieces += [_agreeing(between, old, new), _typed_like(sentence, said, new, symmetry)]
        done = said[-1].end
    return ''.join([*pieces, sentence[done:]])


def _words(sentence: str) -> list[_Word]:
    words, end = [], 0
    for match in _WORD.finditer(sentence):
        lower = match[0].replace('\u2019', "'").lower()
        words.append(_Word(match[0], lower, match.start(), match.end(), not sentence[end : match.start()].strip()))
        end = match.end()
    return words


def _find(words: list[_Word], table: dict[str, list[tuple[Family, tuple[int, int]]]]) -> Iterator[_Found]:
    """The phrases of the table from left to right, the longest first."""
    index = 0
    while index < len(words):
        begins = words[index].lower in _FIRST_WORDS
        for last in range(min(index + _LONGEST, len(words)), index, -1) if begins else ():
            phrase = words[index:last]
            if not all(word.joined for word in phrase[1:]):
                continue
            entries = table.get(' '.join(word.lower for word in phrase), ())
            fitting = [entry for entry in entries if _USES[entry[0].use](words, index, last)]
            if fitting:
                yield _Found(index, last, *fitting[0])
                index = last - 1
                break
        index += 1


def _check_language(sentence: str, words: list[_Word], symmetry: Symmetry) -> None:
    odd = next((one.text for one in words if not one.lower.isascii() or one.lower in FOREIGN), None)
    if odd is not None:
        raise _refusal(sentence, symmetry, 'another language', f'{odd!r}')


def _check_rest(sentence: str, words: list[_Word], within: set[int], symmetry: Symmetry) -> None:
    """Refuse words of direction that stand in no phrase of the table."""
    clock = _CLOCK.search(sentence)
    if clock:
        raise _refusal(sentence, symmetry, 'clock positions and angles', f'{clock[0]!r}')
    for index, word in enumerate(words):
        if index in within:
            if word.text[0].isupper() and _before_capital(words, index + 1):
                raise _refusal(sentence, symmetry, 'may be a name', f'{word.text} {words[index + 1].text}')
            continue
        if symmetry.transposed and word.lower in LINES and index - 1 in within:
            raise _refusal(sentence, symmetry, 'rows become columns', f'{words[index - 1].text} {word.text}')
        parts = {word.lower, *re.split("[-']", word.lower)}
        if (parts & DOUBTFUL and word.lower not in HARMLESS) or word.text in WIND_LETTERS:
            raise _refusal(sentence, symmetry, 'a word of direction in no known phrase', f'{word.text!r}')
        if _is_ordinal(words, index) and not _counts_from(words, index, within):
            raise _refusal(sentence, symmetry, 'counted without a side to count from', f'{word.text!r}')


def _before_capital(words: list[_Word], last: int) -> bool:
    """Whether a capital follows, as in "North Pier" and "west London"; not where all is in capitals."""
    if last >= len(words) or not words[last].joined or not words[last].text[0].isupper():
        return False
    return not all(word.text.isupper() for word in words)


def _is_ordinal(words: list[_Word], index: int) -> bool:
    """'second', and the 'nd' of '2nd'."""
    word = words[index]
    return word.lower in ORDINALS or (
        word.lower in ('st', 'nd', 'rd', 'th') and index > 0 and words[index - 1].end == word.start
    )


def _counts_from(words: list[_Word], index: int, within: set[int]) -> bool:
    after = [word.lower for word in words[index + 1 :]]
    superlative = bool(after) and (after[0].endswith('est') or after[0].endswith('most'))
    counted = any(word == 'from' and place in within for place, word in enumerate(after, index + 1))
    return superlative or (counted and not LINES & set(after[:2]))


def _refusal(sentence: str, symmetry: Symmetry, reason: str, what: str) -> TurnError:
    return TurnError(f'{sentence!r} cannot be turned by {symmetry.name}: {reason} ({what})', reason)


def _agreeing(between: str, old: str, new: str) -> str:
    """The text before a phrase, "an" and "a" changed where they agreed with its first letter."""
    match = re.search(r'\b(an?)(\s+)$', between, re.IGNORECASE)
    vowels = old[0].lower() in 'aeiou', new[0].lower() in 'aeiou'
    if match is None or vowels[0] == vowels[1] or (len(match[1]) == 2) != vowels[0]:
        return between
    article = match[1][0] + ('' if vowels[0] else 'N' if match[1].isupper() and old.isupper() else 'n')
    return between[: match.start()] + article + match[2]


def _typed_like(sentence: str, said: list[_Word], new: str, symmetry: Symmetry) -> str:
    """The new words with the old ones' capitals and, where there are as many, blanks."""
    old = sentence[said[0].start : said[-1].end]
    if old.isupper():
        return _spaced(sentence, said, new.upper())
    parts = new.split(' ')
    if len(parts) == len(said):
        typed = [_capitals(word.text, part) for word, part in zip(said, parts, strict=True)]
        return _spaced(sentence, said, ' '.join(typed))
    if old[1:] != old[1:].lower():
        raise _refusal(sentence, symmetry, 'no exact counterpart', f'the capitals of {old!r}')
    return new[0].upper() + new[1:] if old[0].isupper() else new


def _capitals(old: str, new: str) -> str:
    if old[0].islower():
        return new
    inner = old.split('-')
    if len(inner) > 1 and all(part[0].isupper() for part in inner):
        return '-'.join(part.capitalize() for part in new.split('-'))
    return new[0].upper() + new[1:]


def _spaced(sentence: str, said: list[_Word], new: str) -> str:
    parts = new.split(' ')
    if len(parts) != len(said):
        return new
    gaps = [sentence[a.end : b.start] for a, b in pairwise(said)]
    return ''.join(text for pair in zip(parts, [*gaps, ''], strict=True) for text in pair)


def _next(words: list[_Word], last: int) -> str | None:
    """The word after a phrase; None where the sentence or a clause ends."""
    return words[last].lower if last < len(words) and words[last].joined else None


def _of_picture(words: list[_Word], last: int) -> bool:
    """Whether "of the image" begins at a word."""
    after = [word.lower for word in words[last : last + 4] if word.joined]
    return after[:1] == ['of'] and any(word in FRAMES for word in after[1:4] if word not in ('the', 'this', 'whole'))


def _is_place(words: list[_Word], first: int, last: int) -> bool:
    """'on the left', and nothing after it that it would belong to."""
    after = _next(words, last)
    return after is None or (after in FUNCTION_WORDS and after != 'of') or _of_picture(words, last)


def _is_relation(words: list[_Word], first: int, last: int) -> bool:
    """'on the left of', 'above', of something that is not the picture."""
    after = _next(words, last)
    if after is None or after in FUNCTION_WORDS or after in NO_LANDMARKS:
        return False
    if words[first].lower in ('left', 'right') and _before(words, first) in ('the', 'its', *_BEFORE_SIDES):
        return False
    # 'On the right of the bottom' is a part of it, not beside it: after all directions a noun must come.
    noun = last + (after in ('the', 'a', 'an'))
    while (_next(words, noun) or '') in DOUBTFUL:
        noun += 1
    if _next(words, noun) in (None, *FUNCTION_WORDS):
        return False
    return words[last - 1].lower != 'of' or not _of_picture(words, last - 1)


def _before(words: list[_Word], first: int) -> str | None:
    return words[first - 1].lower if first and words[first].joined else None


def _is_side(words: list[_Word], first: int, last: int) -> bool:
    """'left' of 'the left side', not of "its left side"."""
    before = _before(words, first) or ''
    return _next(words, last) in SIDE_NOUNS and not re.search("'s?$", before) and before not in _POSSESSIVES


def _is_adjective(words: list[_Word], first: int, last: int) -> bool:
    """'left' of 'the left airplane'."""
    after, before = _next(words, last), _before(words, first)
    if after is None or any(after in group for group in _NO_NOUNS):
        return False
    return (before is None or before in ADJECTIVES) and not _before_capital(words, last)


def _is_wind(words: list[_Word], first: int, last: int) -> bool:
    return not _before_capital(words, last)


def _is_heading(words: list[_Word], first: int, last: int) -> bool:
    after = _next(words, last)
    return after is None or after in FUNCTION_WORDS


_BEFORE_SIDES = ('far', 'very', 'extreme', 'upper', 'lower', 'top', 'bottom')
_NO_NOUNS = (FUNCTION_WORDS, OWN_SIDES, SIDE_NOUNS, DOUBTFUL, ('the', 'a', 'an', 'this', 'that'))
_POSSESSIVES = ('its', 'their', 'his', 'her', 'whose', 'your', 'my', 'our')
_USES: dict[Use, Callable[[list[_Word], int, int], bool]] = {
    'free': lambda words, first, last: True,
    'place': _is_place,
    'relation': _is_relation,
    'side': _is_side,
    'adjective': _is_adjective,
    'heading': _is_heading,
    'wind': _is_wind,
}


@lru_cache(maxsize=len(TOPS))
def _table(top: str) -> dict[str, list[tuple[Family, tuple[int, int]]]]:
    table: dict[str, list[tuple[Family, tuple[int, int]]]] = {}
    for family in families(top):
        for vector, phrase in family.says.items():
            if phrase is not None:
                table.setdefault(phrase, []).append((family, vector))
    return table


_FIRST_WORDS = {phrase.split()[0] for top in TOPS for phrase in _table(top)}
