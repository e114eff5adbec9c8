"""What of a sentence is not read as it may be meant: slips of typing, other languages, measures, comparisons."""

import re
from functools import lru_cache

from rs2sam2.text.direction_words import FOREIGN
from rs2sam2.text.reading_words import COMPARED, MEASURE

# fmt: off
_WATCHED = (
    'left', 'right', 'north', 'south', 'upper', 'lower', 'above', 'below', 'bottom', 'between', 'northern',
    'southern', 'eastern', 'western', 'leftmost', 'rightmost', 'topmost', 'uppermost', 'lowermost', 'bottommost',
    'northernmost', 'southernmost', 'easternmost', 'westernmost', 'largest', 'biggest', 'smallest', 'nearest',
    'closest', 'farthest', 'furthest',
)
# fmt: on
_ENGLISH = {'closet', 'easter', 'bellow'}  # next to words that are watched, and words themselves
_LONG = 6  # letters from which a word with one missing is told from others
_BEGINNINGS = FOREIGN | {'die', 'alle', 'alles', 'todos', 'todas', 'tous', 'toutes', 'tutti', 'tutte'}
_WIND = re.compile(r'\b(?:[Nn]orth|[Ss]outh|[Ee]ast|[Ww]est|NORTH|SOUTH|EAST|WEST)|\b(?:N|E|S|W|NE|NW|SE|SW)\b')
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")


def doubts(text: str) -> list[str]:
    """What a user should know about how a sentence was read, a clause each."""
    words = [word.lower() for word in _WORD.findall(text)]
    found = []
    if slip := next((word for word in words if word in _slips()), None):
        found.append(f'{slip!r} is no word that is known here, so that it decides nothing: {_slips()[slip]!r}?')
    foreign = [word for word in words if word in FOREIGN or not word.isascii()]
    if (words and words[0] in _BEGINNINGS) or len(foreign) > 1 or any(not _is_latin(word) for word in foreign):
        found.append(f'{(foreign or words)[0]!r} is not English: places and numbers are read in English only')
    if measure := MEASURE.search(text):
        found.append(f'nothing measures {measure[0]!r}: the model is asked in these words')
    if compared := COMPARED.search(text):
        found.append(f'nothing compares {compared[0].strip()!r} over the scene: the model is asked in these words')
    return found


def names_winds(text: str) -> bool:
    """Whether a sentence speaks of points of the compass, which in a picture are its sides."""
    return bool(_WIND.search(text))


def _is_latin(word: str) -> bool:
    return all(letter < '\u0250' for letter in word)


@lru_cache(maxsize=1)
def _slips() -> dict[str, str]:
    """Words with two letters swapped, one doubled, or, where they are long, one missing; and what they are slips of."""
    slips: dict[str, str] = {}
    for word in _WATCHED:
        places = range(len(word))
        slips |= {word[:at] + word[at + 1] + word[at] + word[at + 2 :]: word for at in places[:-1]}
        slips |= {word[:at] + word[at] + word[at:]: word for at in places}
        if len(word) >= _LONG:
            slips |= {word[:at] + word[at + 1 :]: word for at in places}
    return {slip: word for slip, word in slips.items() if slip not in _ENGLISH and slip not in _WATCHED}
