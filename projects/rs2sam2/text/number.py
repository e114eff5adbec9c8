"""One and several: English nouns with what stands behind them, as 'roof with a chimney'."""

import re

_PREPOSITION = re.compile(
    r' (?:in|on|at|with|of|along|under|over|without|from|around|by|inside|through|across|for|that|which|to) '
)
# What a thing does, said behind it: 'cars parked on the street'.
_DOING = re.compile(
    r'(?<=\w) (?:parked|moored|anchored|docked|berthed|stacked|stored|planted|built|made|located|situated|surrounded|'
    r'covered|standing|driving|moving|sailing|flying|lying|floating|growing|grazing|waiting|travell?ing|facing) '
)
_NO_PLURAL = re.compile(r'(?:ss|us|is|ous)$')
ONE_OR_MANY = ('aircraft', 'sheep')
"""Nouns that are the same for one and for several."""
_PLURALS = (*ONE_OR_MANY, 'people', 'cattle', 'livestock', 'children', 'persons', 'men')


def head_noun(phrase: str) -> str:
    """The noun itself: 'roof' of 'red roof with a chimney'; empty where there is none."""
    before = _PREPOSITION.split(f' {phrase} ')[0]
    return (_DOING.split(f'{before} ')[0].split() or [''])[-1]


def is_plural(phrase: str) -> bool:
    """Whether a phrase names several things."""
    head = head_noun(phrase)
    return head in _PLURALS or (head.endswith('s') and len(head) > 3 and not _NO_PLURAL.search(head))


def singular(phrase: str) -> str:
    """The phrase for one of them; the same where it is for one already, or its noun has no other form."""
    head = head_noun(phrase)
    if not is_plural(phrase) or head in _PLURALS:
        return phrase
    one = re.sub(r'(?:(?<=ch)|(?<=sh)|(?<=x)|(?<=ss))es$|s$', '', re.sub('ies$', 'ys', head))
    return _exchanged(phrase, head, one)


def plural(phrase: str) -> str:
    """The phrase for several; the same where it is for several already."""
    head = head_noun(phrase)
    if not head or is_plural(phrase):
        return phrase
    several = re.sub(r'(?<=[^aeiou])y$', 'ie', head)
    return _exchanged(phrase, head, several + ('es' if re.search(r'(?:s|x|ch|sh)$', several) else 's'))


def _exchanged(phrase: str, head: str, new: str) -> str:
    words = phrase.split()
    words[words.index(head)] = new
    return ' '.join(words)
