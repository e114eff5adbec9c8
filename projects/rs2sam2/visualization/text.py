"""Text in pictures: a font that is always there, measuring, wrapping."""

from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

ELLIPSIS = '…'


@lru_cache(maxsize=64)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib ships: Latin, Greek, Cyrillic and more, but no Chinese glyphs."""
    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), 'fonts', 'ttf', name), size)


def font_for(text: str, size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """A font that has the letters of a text: DejaVu Sans, else one that is installed, else DejaVu Sans all the same."""
    path = None if _has_letters(None, _letters(text)) else _installed(_letters(text))
    return font(size, bold) if path is None else ImageFont.truetype(path, size)


def can_draw(text: str) -> bool:
    """Whether a font of this machine has the letters of a text; others come out as boxes."""
    letters = _letters(text)
    return _has_letters(None, letters) or _installed(letters) is not None


def _letters(text: str) -> frozenset[int]:
    return frozenset(ord(letter) for letter in text if letter.isprintable() and not letter.isspace())


@lru_cache(maxsize=1024)
def _installed(letters: frozenset[int]) -> str | None:
    from matplotlib.font_manager import findSystemFonts

    return next((path for path in sorted(findSystemFonts()) if _has_letters(path, letters)), None)


def _has_letters(path: str | None, letters: frozenset[int]) -> bool:
    return letters <= _letters_of(path)


@lru_cache(maxsize=256)
def _letters_of(path: str | None) -> frozenset[int]:
    """Code points of a font file; of DejaVu Sans for None."""
    from fontTools.ttLib import TTFont, TTLibError

    try:
        with TTFont(path or font(12).path, fontNumber=0, lazy=True) as file:
            return frozenset(file.getBestCmap() or ())
    except (OSError, TTLibError, KeyError, AssertionError):
        return frozenset()


def shorten(text: str, width: float, face: ImageFont.FreeTypeFont) -> str:
    """`text`, with its end replaced by an ellipsis where it is wider than `width` pixels."""
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + ELLIPSIS) > width:
        text = text[:-1]
    return text.rstrip() + ELLIPSIS


def wrap(text: str, width: float, face: ImageFont.FreeTypeFont, max_lines: int) -> list[str]:
    """Break text into lines at blanks; a word wider than a line is broken anywhere (Chinese has no blanks).

    Args:
        text: any text; control characters and runs of blanks become one blank.
        width: of a line, in pixels.
        face: the font.
        max_lines: what does not fit in so many lines is replaced by an ellipsis.

    Returns:
        At least one line.
    """
    # More than this never fits, and measuring 10,000 words would take seconds.
    shown = text[: 400 * max_lines]
    words = ''.join(c if c.isprintable() else ' ' for c in shown).split()
    lines = ['']
    for word in words:
        joined = f'{lines[-1]} {word}'.strip()
        if face.getlength(joined) <= width:
            lines[-1] = joined
            continue
        if lines[-1]:
            lines.append('')
        for character in word:
            if lines[-1] and face.getlength(lines[-1] + character) > width:
                lines.append('')
            lines[-1] += character
    if len(lines) > max_lines or shown != text:
        lines = lines[:max_lines]
        lines[-1] = shorten(lines[-1], width - face.getlength(ELLIPSIS), face).rstrip(ELLIPSIS) + ELLIPSIS
    return lines
