"""Ground textures: everything below the objects, as float arrays of RGB values 0..255."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from rs2sam2.synthetic.drawing import RGB

_OVERSAMPLE = 3


def noise(rng: np.random.Generator, size: int, cells: Sequence[int], fade: float = 0.6) -> np.ndarray:
    """Smooth noise of several scales, (size, size) float32, about -1..1.

    Args:
        rng: source of the random values.
        size: side in pixels.
        cells: number of bumps along a side, one scale each, coarse to fine.
        fade: weight of a scale beside the one before.
    """
    total, weight = np.zeros((size, size), np.float32), 1.0
    for count in cells:
        grid = Image.fromarray(rng.uniform(-1, 1, (count, count)).astype(np.float32))
        total += weight * np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))
        weight *= fade
    return total


def texture(rng: np.random.Generator, size: int, rgb: RGB, contrast: float, cells: Sequence[int]) -> np.ndarray:
    """A colour with brightness noise, (size, size, 3) float32.

    Args:
        rng: source of the random values.
        size: side in pixels.
        rgb: the mean colour.
        contrast: spread of the brightness, as a share of it.
        cells: see `noise`.
    """
    brightness = 1 + contrast * noise(rng, size, cells)
    tint = 1 + 0.3 * contrast * noise(rng, size, cells[:2])
    return np.stack([brightness * tint * rgb[0], brightness * rgb[1], brightness * rgb[2]], -1).astype(np.float32)


def grass(rng: np.random.Generator, size: int) -> np.ndarray:
    """Grassland or a dry meadow."""
    tones = ((92, 112, 66), (104, 122, 74), (118, 122, 78), (84, 104, 68))
    return texture(rng, size, tones[rng.integers(len(tones))], 0.09, (5, 19, 60, 128))


def soil(rng: np.random.Generator, size: int) -> np.ndarray:
    """Bare soil or gravel."""
    tones = ((168, 146, 116), (152, 136, 112), (176, 158, 130))
    return texture(rng, size, tones[rng.integers(len(tones))], 0.06, (4, 15, 64, 128))


def asphalt(rng: np.random.Generator, size: int) -> np.ndarray:
    """Dark road surface."""
    return texture(rng, size, (92, 93, 97), 0.035, (6, 40, 128))


def concrete(rng: np.random.Generator, size: int) -> np.ndarray:
    """Light paved ground."""
    tones = ((172, 170, 162), (180, 176, 166), (164, 166, 164))
    return texture(rng, size, tones[rng.integers(len(tones))], 0.035, (5, 24, 96, 128))


def water(rng: np.random.Generator, size: int) -> np.ndarray:
    """Sea, lake or river, with ripples along one direction."""
    tones = ((38, 78, 96), (44, 88, 104), (52, 92, 92), (34, 68, 92))
    flat = texture(rng, size, tones[rng.integers(len(tones))], 0.07, (3, 7, 26))
    ripples = Image.fromarray(rng.uniform(-1, 1, (size, size // 3)).astype(np.float32)).resize((size, size))
    return flat * (1 + 0.035 * np.asarray(ripples)[..., None])


def coordinates(size: int, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions of all pixels along `angle` (degrees) and across it, in units from the image's centre."""
    axis = ((np.arange(size, dtype=np.float32) + 0.5) / size - 0.5) * 256
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x, y = axis[None, :], axis[:, None]
    return x * cos + y * sin, y * cos - x * sin


def fields(rng: np.random.Generator, size: int, angle: float) -> np.ndarray:
    """A patchwork of fields with rows, in parcels along `angle`."""
    along, across = coordinates(size, angle)
    tones = np.array(((112, 126, 72), (142, 138, 88), (158, 142, 104), (94, 114, 66), (128, 134, 84), (174, 160, 116)))
    columns = np.floor((along + 400 + rng.uniform(0, 90)) / rng.uniform(70, 120)).astype(int)
    rows = np.floor((across + 400 + 17 * (columns % 3)) / rng.uniform(46, 80)).astype(int)
    parcel = rng.integers(0, len(tones), (32, 32))[rows, columns]
    lengthwise = rng.random((32, 32))[rows, columns] < 0.6
    stripes = np.sin(2 * math.pi * np.where(lengthwise, across, along) / rng.uniform(4.0, 6.5))
    contrast = rng.uniform(0.015, 0.06, (32, 32))[rows, columns]
    brightness = 1 + contrast * stripes + 0.05 * noise(rng, size, (5, 19, 64, 128))
    edge = np.abs(np.diff(rows, axis=0, prepend=rows[:1])) + np.abs(np.diff(columns, axis=1, prepend=columns[:, :1]))
    brightness = np.where(edge > 0, 0.84, brightness)
    return (tones[parcel] * brightness[..., None]).astype(np.float32)


def drawn(size: int, draw: Callable[[ImageDraw.ImageDraw, float], None]) -> np.ndarray:
    """Coverage of something drawn by PIL, (size, size) float32 in 0..1.

    Args:
        size: side in pixels.
        draw: is called with the canvas and its pixels a unit; draws with 255.
    """
    canvas = Image.new('L', (size * _OVERSAMPLE,) * 2, 0)
    draw(ImageDraw.Draw(canvas), size * _OVERSAMPLE / 256)
    return np.asarray(canvas.reduce(_OVERSAMPLE), np.float32) / 255
