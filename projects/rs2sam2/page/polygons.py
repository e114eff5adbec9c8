"""The mask of one view as GeoJSON features: along the pixels' edges, or cleaned as `rs2sam2 scene` cleans them."""

from importlib.util import find_spec
from typing import Any

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import shapes

from rs2sam2.errors import ConfigError


def trace_mask(mask: np.ndarray, transform: Affine) -> list[dict[str, Any]]:
    """One GeoJSON geometry for each part of a mask whose pixels share edges.

    Args:
        mask: (h, w) bool.
        transform: pixel to coordinates.
    """
    pixels = mask.astype(np.uint8)
    return [geometry for geometry, _ in shapes(pixels, mask > 0, connectivity=4, transform=transform)]


def clean_mask(
    mask: np.ndarray, transform: Affine, crs: str | None, min_area: str | None, simplify: str | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """The same without small parts and with fewer corners, where that is asked for; and what it changed.

    Args:
        mask: (h, w) bool.
        transform: pixel to coordinates.
        crs: of the coordinates; None: they are pixels.
        min_area: smaller parts are left out: pixels, or '50m2' on the ground; None: none is.
        simplify: corners are left out where the outline moves by about so much: pixels, or '2m'; None: none is.

    Raises:
        ConfigError: the extra [geo] is not installed, a measure is none, or it is of a ground that nobody knows.
    """
    if min_area is None and simplify is None:
        return trace_mask(mask, transform), []
    if find_spec('pyogrio') is None:
        raise ConfigError('cleaning polygons needs the extra [geo], not installed here: pip install "rs2sam2[geo]"')
    import shapely

    from rs2sam2.geo.cleaning import Cleaner, parse_cleaning
    from rs2sam2.geo.ground import AreaMeter, pixel_size, to_crs
    from rs2sam2.geo.polygons import TracedObject

    def placed(objects: list[TracedObject]) -> list[shapely.Polygon]:
        return [shapely.transform(o.polygon, lambda xy: np.column_stack(to_crs(transform, *xy.T))) for o in objects]

    known = None if crs is None else CRS.from_string(crs)
    height, width = mask.shape
    pixel = None if known is None else pixel_size(known, transform, (width / 2, height / 2))
    meter = AreaMeter(known, transform)
    cleaner = Cleaner(parse_cleaning(min_area, simplify), meter, pixel)
    traced = [shapely.geometry.shape(geometry) for geometry in trace_mask(mask, Affine.identity())]
    objects = [TracedObject(polygon, round(polygon.area), 1.0) for polygon in traced]
    kept, _ = cleaner.clean(objects, placed(objects))
    outlines = placed(kept)
    cleaner.done.after += sum(meter.measure(p, o.polygon.area) for p, o in zip(outlines, kept, strict=True))
    return [shapely.geometry.mapping(p) for p in outlines], cleaner.done.notes(cleaner.cleaning, meter.unit)
