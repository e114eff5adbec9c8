"""The scene under construction: ground, zones where objects may stand, placed objects, and the finished picture."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageFilter

from rs2sam2.synthetic import ground
from rs2sam2.synthetic.drawing import RGB, Point, Sprite


class Canvas:
    """Collects what a layout draws; all positions are in units (256 units are a side), whatever the size in pixels.

    Args:
        rng: drives everything random in the scene.
        size: side of the image in pixels.
    """

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size, self.unit = rng, size, size / 256
        self.sun = float(rng.uniform(0, 360))
        self.rgb = np.zeros((size, size, 3), np.float32)
        self.zones: dict[str, np.ndarray] = {}
        self.placed: list[tuple[Sprite, int, int]] = []
        self._decor: list[tuple[Sprite, int, int]] = []
        self._occupied = np.zeros((size, size), bool)
        self._wakes = np.zeros((size, size), np.float32)

    def cover(self, coverage: np.ndarray, colour: RGB | np.ndarray) -> None:
        """Paints a colour or a texture where `coverage` (S, S) is, over what was there."""
        self.rgb += coverage[..., None] * (np.asarray(colour, np.float32) - self.rgb)

    def lines(self, lines: Iterable[Sequence[Point]], width: float, colour: RGB | np.ndarray) -> np.ndarray:
        """Paints lines, `width` in units; returns their coverage."""
        lines = list(lines)

        def draw(canvas, scale: float) -> None:
            for line in lines:
                pixels = [(x * scale, y * scale) for x, y in line]
                canvas.line(pixels, 255, max(1, round(width * scale)), 'curve')

        coverage = ground.drawn(self.size, draw)
        self.cover(coverage, colour)
        return coverage

    def polygons(self, polygons: Iterable[Sequence[Point]], colour: RGB | np.ndarray) -> np.ndarray:
        """Paints polygons; returns their coverage."""
        polygons = list(polygons)

        def draw(canvas, scale: float) -> None:
            for polygon in polygons:
                canvas.polygon([(x * scale, y * scale) for x, y in polygon], 255)

        coverage = ground.drawn(self.size, draw)
        self.cover(coverage, colour)
        return coverage

    def place(self, sprite: Sprite, x: float, y: float, zone: str | None = None, gap: float = 5.0) -> bool:
        """Puts an object with its centre at (x, y), if it lies inside the image and the zone and `gap` off all others.

        Returns:
            Whether there was room.
        """
        where = self._room(sprite, x, y, zone, gap)
        if where is not None:
            self.placed.append((sprite, *where))
        return where is not None

    def decorate(self, sprite: Sprite, x: float, y: float, zone: str) -> None:
        """Puts something that is no object of the data set, such as a house, if there is room."""
        where = self._room(sprite, x, y, zone, 1.5)
        if where is not None:
            self._decor.append((sprite, *where))

    def _room(self, sprite: Sprite, x: float, y: float, zone: str | None, gap: float) -> tuple[int, int] | None:
        height, width = sprite.coverage.shape
        left, top = round(x * self.unit) - width // 2, round(y * self.unit) - height // 2
        margin = max(1, round(2 * self.unit))
        covered = sprite.coverage > 0
        if left < margin or top < margin or left + width > self.size - margin or top + height > self.size - margin:
            return None
        window = np.s_[top : top + height, left : left + width]
        if zone is not None and not self.zones[zone][window][covered].all():
            return None
        if self._occupied[window][covered].any():
            return None
        reach = max(2, round(gap * self.unit))
        for angle in range(0, 360, 45):
            dx, dy = round(reach * math.cos(math.radians(angle))), round(reach * math.sin(math.radians(angle)))
            self._mark(covered, left + dx, top + dy)
        self._mark(covered, left, top)
        return left, top

    def _mark(self, covered: np.ndarray, left: int, top: int) -> None:
        (y0, x0), (y1, x1) = (max(0, -top), max(0, -left)), (self.size - top, self.size - left)
        part = covered[y0:y1, x0:x1]
        self._occupied[top + y0 : top + y0 + part.shape[0], left + x0 : left + x0 + part.shape[1]] |= part

    def wake(self, x: float, y: float, angle: float, length: float, width: float) -> None:
        """Foam behind a ship at (x, y) that heads towards `angle`."""
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))

        def draw(canvas, scale: float) -> None:
            for spread, back in ((0.35, 1.0), (1.1, 1.15)):
                side = [(-length * back, side * width * spread) for side in (-1, 1)]
                shape = [(0, -width * 0.3), *side, (0, width * 0.3)]
                pixels = [((x + px * cos - py * sin) * scale, (y + px * sin + py * cos) * scale) for px, py in shape]
                canvas.polygon(pixels, 110 if spread > 1 else 255)

        along, _ = ground.coordinates(self.size, angle)
        start = (x - 128) * cos + (y - 128) * sin
        fade = np.clip(1 - (start - along) / (length * 1.1), 0, 1)
        self._wakes = np.maximum(self._wakes, ground.drawn(self.size, draw) * fade)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """The picture (S, S, 3) uint8 and the exact masks of the placed objects (N, S, S) bool."""
        rng, rgb = self.rng, self.rgb
        if self._wakes.any():
            foam = self._wakes * (0.55 + 0.25 * ground.noise(rng, self.size, (40, 90)))
            self.cover(np.clip(foam, 0, 0.8), (226, 234, 234))
        everything = self._decor + self.placed
        rgb *= 1 - 0.52 * self._shadow(everything)[..., None]
        masks = np.zeros((len(self.placed), self.size, self.size), bool)
        for sprite, left, top in everything:
            height, width = sprite.coverage.shape
            window = np.s_[top : top + height, left : left + width]
            rgb[window] += sprite.coverage[..., None] * (sprite.rgb - rgb[window])
        for mask, (sprite, left, top) in zip(masks, self.placed, strict=True):
            height, width = sprite.coverage.shape
            mask[top : top + height, left : left + width] = sprite.mask
        rgb *= 1 + 0.03 * ground.noise(rng, self.size, (3, 5))[..., None]
        warmth = rng.uniform(-0.025, 0.025)
        rgb *= rng.uniform(0.96, 1.04) * np.array((1 + warmth, 1, 1 - warmth), np.float32)
        rgb += rng.normal(0, 2.6, rgb.shape[:2]).astype(np.float32)[..., None]
        return np.clip(rgb, 0, 255).round().astype(np.uint8), masks

    def _shadow(self, everything: Sequence[tuple[Sprite, int, int]]) -> np.ndarray:
        """Share of the light that every pixel of the ground loses, (S, S) in 0..1, soft at its edge."""
        pad = round(24 * self.unit)
        shadow = np.zeros((self.size + 2 * pad,) * 2, np.float32)
        cos, sin = -math.cos(math.radians(self.sun)), -math.sin(math.radians(self.sun))
        for sprite, left, top in everything:
            height, width = sprite.coverage.shape
            reach = min(sprite.height, 20 * self.unit)
            for step in np.linspace(0, reach, max(2, math.ceil(reach / 2))):
                x, y = left + pad + round(step * cos), top + pad + round(step * sin)
                part = shadow[y : y + height, x : x + width]
                np.maximum(part, sprite.coverage, out=part)
        image = Image.fromarray((shadow[pad:-pad, pad:-pad] * 255).astype(np.uint8))
        return np.asarray(image.filter(ImageFilter.GaussianBlur(0.9 * self.unit)), np.float32) / 255
