"""Masks as clients take them: COCO's RLE, PNG, GeoJSON."""

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from rasterio.features import shapes

from rs2sam2.inference.results import SegmentationResult

_FACTS = ('expression', 'score', 'score_kind', 'empty', 'reason')


def segmentation(results: Sequence[SegmentationResult], trained_on: str | None) -> dict[str, Any]:
    """The answer in plain values, with COCO's RLE."""
    height, width = results[0].size
    found = [result.to_dict() for result in results]
    for one in found:
        del one['image'], one['height'], one['width']
    return {'width': width, 'height': height, 'results': found, 'trained_on': trained_on}


def png(result: SegmentationResult) -> tuple[bytes, dict[str, str]]:
    """The mask as a PNG, 255 on the target, and a header that says its score."""
    file = io.BytesIO()
    Image.fromarray(result.mask.astype(np.uint8) * 255).save(file, format='PNG')
    facts = {name: getattr(result, name) for name in _FACTS}
    return file.getvalue(), {'RS2SAM2-Result': json.dumps(facts)}


def geojson(results: Sequence[SegmentationResult]) -> dict[str, Any]:
    """All masks as polygons along pixel edges, in pixels: x to the right, y down."""
    features = []
    for result in results:
        mask = result.mask.astype(np.uint8)
        properties = {name: getattr(result, name) for name in _FACTS[:3]} | {'coordinates': 'pixels, x right, y down'}
        features += [
            {'type': 'Feature', 'properties': properties, 'geometry': geometry}
            for geometry, _ in shapes(mask, mask > 0, connectivity=4)
        ]
    return {'type': 'FeatureCollection', 'features': features}
