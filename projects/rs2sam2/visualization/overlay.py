"""Masks and heat maps drawn over an image, at twice the size and then reduced, so that outlines are smooth."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

HIT = (64, 224, 112)
"""Colour of a true target, and of what was rightly found."""
FALSE = (240, 64, 176)
"""Colour of what was found but is no target."""
MISSED = (255, 200, 48)
"""Colour of a target that was not found."""
FOUND = (72, 190, 255)
"""Colour of what was found where nobody knows the truth."""

OVERLAY_SIDE = 2048
OVERSAMPLING = 2
TINT = 0.42
HEAT = 0.62
HEAT_MAP = 'inferno'


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) bool to (H, W) bool, `size` being (W, H) as PIL has it; smooth, and never losing a small target."""
    source = Image.fromarray(mask.astype(np.uint8) * 255)
    resized = np.asarray(source.resize(size, Image.Resampling.BILINEAR)) >= 128
    if mask.any() and not resized.any():
        resized = np.asarray(source.resize(size, Image.Resampling.BOX)) > 0
    return resized


def _combined(mask: np.ndarray, how: np.ufunc, pixels: int) -> np.ndarray:
    """Join each pixel's neighbours: `logical_or` grows a mask, `logical_and` shrinks it; nothing is set outside."""
    for axis, length in enumerate(mask.shape):
        wide = np.pad(mask, [(pixels, pixels) if axis == one else (0, 0) for one in (0, 1)])
        mask = how.reduce([wide.take(range(first, first + length), axis) for first in range(2 * pixels + 1)])
    return mask


def draw_regions(
    image: Image.Image, regions: Sequence[tuple[np.ndarray, tuple[int, int, int]]], tint: float = TINT
) -> Image.Image:
    """Tint and outline regions.

    Args:
        image: RGB, any size.
        regions: masks (h, w) bool of any size, none overlapping another, each with its colour.
        tint: share of the colour inside the outlines, 0 to 1.

    Returns:
        A new picture of the size of `image`.
    """
    size = (image.width * OVERSAMPLING, image.height * OVERSAMPLING)
    canvas = np.asarray(image.resize(size, Image.Resampling.BICUBIC)).astype(np.float32)
    masks = [(resize_mask(mask, size), np.array(colour, np.float32)) for mask, colour in regions]
    anywhere = np.zeros(canvas.shape[:2], bool)
    for mask, colour in masks:
        canvas[mask] = (1 - tint) * canvas[mask] + tint * colour
        anywhere |= mask
    # A thin dark rim sets the outline off from bright ground.
    rim = _combined(anywhere, np.logical_or, 2) & ~anywhere
    canvas[rim] *= 0.45
    for mask, colour in masks:
        canvas[mask & ~_combined(mask, np.logical_and, 3)] = colour
    return Image.fromarray(canvas.round().clip(0, 255).astype(np.uint8)).reduce(OVERSAMPLING)


def draw_overlay(image: np.ndarray, mask: np.ndarray, side: int = OVERLAY_SIDE) -> np.ndarray:
    """Tint and outline a mask (H, W) bool over an image (H, W, 3) uint8; the longer side is at most `side` pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((side, side))
    return np.asarray(draw_regions(picture, [(mask, FOUND)]))


def draw_heat(image: Image.Image, values: np.ndarray) -> Image.Image:
    """Lay a heat map over a darkened grey copy of the image.

    Args:
        image: RGB, any size.
        values: (h, w) in [0, 1]; the colours always span the whole range, so pictures can be compared.
    """
    heat = Image.fromarray(values.astype(np.float32)).resize(image.size, Image.Resampling.BICUBIC)
    from matplotlib import colormaps

    colours = colormaps[HEAT_MAP](np.asarray(heat).clip(0, 1))[..., :3] * 255
    grey = np.asarray(image.convert('L'), np.float32)[..., None]
    return Image.fromarray(((1 - HEAT) * grey + HEAT * colours).round().clip(0, 255).astype(np.uint8))


def heat_bar(width: int, height: int) -> Image.Image:
    """The colours of `draw_heat` from 0 (left) to 1 (right)."""
    from matplotlib import colormaps

    colours = colormaps[HEAT_MAP](np.linspace(0, 1, width))[None, :, :3] * 255
    return Image.fromarray(np.repeat(colours.round().astype(np.uint8), height, axis=0))
