"""Text that reaches a terminal: whatever a file, an id or a sentence holds, it is shown and never obeyed."""

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

LONGEST = 2000
# Control characters, halves of UTF-16 pairs (bytes of a file name that are no UTF-8), separators of lines, and what is
# invisible; some of that turns the direction of what follows.
_ESCAPED = ('Cc', 'Cf', 'Cn', 'Co', 'Cs', 'Zl', 'Zp')
# Scripts such as Persian and Hindi need these two joiners.
_JOINERS = '\u200c\u200d'


def plain(text: object) -> str:
    r"""One line of visible characters: line breaks, escape sequences and their like are spelled out (`\n`, `\x1b`)."""
    return ''.join(_spelled(one) for one in str(text))


def counted(number: int, thing: str) -> str:
    """'1 object', '1,200 objects'; the plural is made by an s."""
    return f'{number:,} {thing}{"" if number == 1 else "s"}'


def shortened(text: str, longest: int = LONGEST) -> str:
    """A text of at most `longest` characters: where it has more, its middle is left out."""
    if len(text) <= longest:
        return text
    head, tail = longest // 2, longest // 2 - 40
    return f'{text[:head]} ... [{len(text) - head - tail:,} characters] ... {text[-tail:]}'


def plain_console(stderr: bool = False, width: int | None = None) -> 'Console':
    """A rich console that takes text as it is: no markup in square brackets, no emoji names, no colours of its own."""
    from rich.console import Console

    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def _spelled(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in _ESCAPED:
        return character
    return character.encode('unicode_escape').decode('ascii')
