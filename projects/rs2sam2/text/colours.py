"""Names the colour of an object from its pixels, or stays silent when the pixels do not agree."""

import colorsys
from functools import lru_cache

import numpy as np

COLOURS = ('white', 'gray', 'black', 'red', 'orange', 'yellow', 'green', 'cyan', 'blue', 'purple', 'brown')
"""The colour words of the grammar; all of them occur in RRSIS-D."""

_HUES: tuple[tuple[str, int, int], ...] = (('red', 346, 372), ('orange', 17, 40), ('yellow', 46, 64))
_HUES += (('green', 78, 160), ('cyan', 172, 196), ('blue', 202, 255), ('purple', 265, 320))
_MIN_SHARE = 0.5
_MIN_LEAD = 2.0


def _name_index(red: float, green: float, blue: float) -> int:
    """Index into `COLOURS` of one RGB triple in 0..1, or -1 in the gaps between two names."""
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    hue *= 360
    chroma = saturation * value
    if value < 0.22 and chroma < 0.07:
        return COLOURS.index('black')
    if chroma < 0.12 or saturation < 0.14:
        if value > 0.8:
            return COLOURS.index('white')
        return COLOURS.index('gray') if 0.32 < value < 0.74 else -1
    # A cast over dark or faded pixels is no colour of the object.
    if saturation < 0.3 or chroma < 0.18:
        return -1
    if 8 <= hue <= 40 and value < 0.56:
        return COLOURS.index('brown')
    for name, low, high in _HUES:
        if low <= hue <= high or low <= hue + 360 <= high:
            return COLOURS.index(name)
    return -1


@lru_cache(maxsize=1)
def _lookup() -> np.ndarray:
    """The name index of every RGB colour of 5 bits a channel, (32, 32, 32) int8."""
    levels = (np.arange(32) * 8 + 4) / 255
    return np.array([[[_name_index(r, g, b) for b in levels] for g in levels] for r in levels], np.int8)


def measure_colour(pixels: np.ndarray) -> str | None:
    """The colour word that most pixels of an object agree on.

    Every pixel votes for one name, or for none where it lies between two (dark red and brown, light gray and
    white). A name wins with at least half of all pixels and twice the votes of the next one, so that shadows,
    markings and a halo of ground pixels do not matter and a two-coloured object has no colour word.

    Args:
        pixels: RGB values of the object's pixels, (N, 3) uint8.

    Returns:
        One of `COLOURS`, or None when unsure or when there is no pixel.
    """
    pixels = np.asarray(pixels, np.uint8).reshape(-1, 3) >> 3
    if not len(pixels):
        return None
    names = _lookup()[pixels[:, 0], pixels[:, 1], pixels[:, 2]]
    votes = np.bincount(names[names >= 0], minlength=len(COLOURS))
    second, first = np.sort(votes)[-2:]
    if first < _MIN_SHARE * len(pixels) or first < _MIN_LEAD * second:
        return None
    return COLOURS[int(votes.argmax())]
