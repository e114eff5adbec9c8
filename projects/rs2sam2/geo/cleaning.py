"""Objects as a GIS wants them: without specks, with fewer corners, still the same shapes beside each other."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import shapely

from rs2sam2.errors import ConfigError
from rs2sam2.geo.ground import AreaMeter
from rs2sam2.geo.polygons import TracedObject


class Measure(NamedTuple):
    """A length or an area.

    Attributes:
        value: how much.
        ground: in metres or square metres; else in pixels of the scene.
    """

    value: float
    ground: bool


def parse_measure(text: str | float, what: str, unit: str) -> Measure:
    """A measure as users write it: '20' or '20px' in pixels, '20m' or '20 m2' on the ground.

    Args:
        text: what was written.
        what: the option's name, for the error.
        unit: of the ground, 'm' or 'm2'.

    Raises:
        ConfigError: it is none.
    """
    match = re.fullmatch(r'\s*([0-9.]+(?:e[+-]?\d+)?)\s*(px|m|m2|m²|m\^2)?\s*', str(text), re.IGNORECASE)
    try:
        value = float(match[1]) if match else -1.0
    except ValueError:
        value = -1.0
    said = (match[2] or 'px').lower().replace('²', '2').replace('^', '') if match else ''
    if not np.isfinite(value) or value < 0 or said not in ('px', unit):
        raise ConfigError(f'{what} is {text!r}; give pixels, such as 20, or {unit} on the ground, such as 50{unit}')
    return Measure(value, said == unit)


@dataclass(frozen=True)
class Cleaning:
    """What is cleaned.

    Attributes:
        min_area: smaller objects are left out; pixels or m2.
        simplify: corners are left out where the outline moves by about this much at most; pixels or metres.
    """

    min_area: Measure | None = None
    simplify: Measure | None = None


def parse_cleaning(min_area: str | float | None, simplify: str | float | None) -> Cleaning:
    """What users write for both, see `parse_measure`."""
    return Cleaning(
        None if min_area is None else parse_measure(min_area, 'min_area', 'm2'),
        None if simplify is None else parse_measure(simplify, 'simplify', 'm'),
    )


@dataclass
class Cleaned:
    """What cleaning changed, in the unit of the areas.

    Attributes:
        kept: objects.
        dropped: objects that were too small.
        dropped_area: of those.
        before: area of the kept objects as they were traced.
        after: their area as they are written.
    """

    kept: int = 0
    dropped: int = 0
    dropped_area: float = 0.0
    before: float = 0.0
    after: float = 0.0

    def notes(self, cleaning: Cleaning, unit: str) -> list[str]:
        """What the user should know."""
        notes = []
        if cleaning.min_area is not None:
            notes.append(
                f'{self.dropped:,} polygons below the smallest area were left out ({self.dropped_area:,.6g} {unit}, in '
                'the mask they are); holes stay, whatever their size'
            )
        if cleaning.simplify is not None and self.before:
            change = self.after / self.before - 1
            notes.append(
                f'outlines were simplified: {self.before:,.6g} {unit} became {self.after:,.6g} {unit} ({change:+.3%})'
            )
        return notes


class Cleaner:
    """Cleans objects batch by batch, before they get coordinates.

    Args:
        cleaning: what to do.
        meter: of areas.
        pixel: (height, width) of a pixel in metres, or None where nothing is known of the ground.

    Raises:
        ConfigError: metres are named for a scene without a known ground resolution.
    """

    def __init__(self, cleaning: Cleaning, meter: AreaMeter, pixel: tuple[float, float] | None) -> None:
        self.cleaning, self.done = cleaning, Cleaned()
        self._meter = meter
        self._tolerance = 0.0
        if (area := cleaning.min_area) is not None and area.ground and meter.unit != 'm2':
            raise ConfigError(
                f'this scene has no known ground resolution: give the smallest area in pixels, not {area.value:g} m2'
            )
        if (step := cleaning.simplify) is not None:
            if not step.ground:
                self._tolerance = step.value
            elif pixel is None:
                raise ConfigError(
                    f'this scene has no known ground resolution: give simplify in pixels, not {step.value:g} m'
                )
            else:
                self._tolerance = step.value / max(pixel)

    def clean(
        self, objects: Sequence[TracedObject], outlines: Iterable[shapely.Polygon]
    ) -> tuple[list[TracedObject], list[int]]:
        """The objects that stay, and their places in the batch.

        Neighbours of a batch are simplified together: no two of them overlap, none of their holes is lost and no ring
        crosses another.

        Args:
            objects: a batch.
            outlines: the same outlines in the CRS's coordinates, for areas on the ground.
        """
        areas = [self._meter.measure(outline, one.pixels) for one, outline in zip(objects, outlines, strict=True)]
        smallest, places = self.cleaning.min_area, list(range(len(objects)))
        if smallest is not None:
            sizes = areas if smallest.ground else [one.pixels for one in objects]
            places = [place for place in places if sizes[place] >= smallest.value]
        left = [objects[place] for place in places]
        self.done.kept += len(left)
        self.done.dropped += len(objects) - len(left)
        self.done.before += sum(areas[place] for place in places)
        self.done.dropped_area += sum(areas) - sum(areas[place] for place in places)
        if self._tolerance and left:
            simple = shapely.coverage_simplify([one.polygon for one in left], self._tolerance)
            left = [replace(one, polygon=polygon) for one, polygon in zip(left, simple, strict=True)]
        return left, places
