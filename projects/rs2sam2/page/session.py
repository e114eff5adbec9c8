"""What one visitor of the page has open: a picture, clicks, a result; and the pictures and files made of them."""

import json
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from PIL import Image, ImageDraw
from rasterio.features import shapes

from rs2sam2.errors import RefSegError
from rs2sam2.inference import RS2SAM2Inferencer, SegmentationResult
from rs2sam2.inference.images import InputImage, load_image
from rs2sam2.inference.points import BESIDE, ON
from rs2sam2.visualization.overlay import FALSE, FOUND, HIT, draw_regions

VIEW_SIDE = 1024
SCENE_SIDE = 2048
RASTERS = ('.tif', '.tiff')
ON_TARGET, BESIDE_TARGET, BOX_CORNER = 'on the target', 'beside the target', 'two corners of a box'


@dataclass(frozen=True)
class Session:
    """What a visitor has open; every action returns a new one.

    Attributes:
        image: the picture, or None.
        crs: of a georeferenced picture as `EPSG:...`, or None.
        transform: pixel to CRS.
        points: clicks (x, y, label) in pixels of the picture.
        corners: of the box, none, one or two (x, y).
        result: of the last segmentation, or None.
    """

    image: InputImage | None = None
    crs: str | None = None
    transform: Affine = field(default_factory=Affine.identity)
    points: tuple[tuple[float, float, int], ...] = ()
    corners: tuple[tuple[float, float], ...] = ()
    result: SegmentationResult | None = None

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """The box (x0, y0, x1, y1), when both corners are there."""
        if len(self.corners) < 2:
            return None
        (ax, ay), (bx, by) = self.corners
        return min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)

    @property
    def scale(self) -> float:
        """Pixels of the picture that a pixel of the shown one spans."""
        return max(self.image.pixels.shape[:2]) / VIEW_SIDE

    def click(self, x: float, y: float, meaning: str) -> 'Session':
        """Add a click at a pixel of the shown picture; a third corner begins a new box."""
        x, y = (x + 0.5) * self.scale, (y + 0.5) * self.scale
        height, width = self.image.pixels.shape[:2]
        x, y = min(x, width - 1), min(y, height - 1)
        if meaning == BOX_CORNER:
            return replace(self, corners=(*(self.corners if len(self.corners) == 1 else ()), (x, y)))
        return replace(self, points=(*self.points, (x, y, ON if meaning == ON_TARGET else BESIDE)))

    def segment(self, inferencer: RS2SAM2Inferencer, expression: str, min_score: float) -> 'Session':
        """Segment the picture; RefSegError where the expression or the clicks cannot be used."""
        pixels, notes = self.image.pixels, self.image.notes
        (result,) = inferencer(
            pixels, expression, box=self.box, point=self.points or None, min_score=min_score if min_score > 0 else None
        )
        return replace(self, result=replace(result, image=self.image.name, notes=(*notes, *result.notes)))

    def picture(self, opacity: float) -> np.ndarray:
        """The picture with mask and clicks over it, (h, w, 3) uint8, its longer side `VIEW_SIDE`."""
        height, width = self.image.pixels.shape[:2]
        size = (max(1, round(width / self.scale)), max(1, round(height / self.scale)))
        shown = Image.fromarray(self.image.pixels).resize(size, Image.Resampling.BICUBIC)
        if self.result is not None and not self.result.empty and opacity > 0:
            shown = draw_regions(shown, [(self.result.mask, FOUND)], tint=opacity)
        draw = ImageDraw.Draw(shown)
        for x, y, label in self.points:
            _draw_dot(draw, x / self.scale, y / self.scale, HIT if label == ON else FALSE)
        for x, y in self.corners[:1] if len(self.corners) == 1 else ():
            _draw_dot(draw, x / self.scale, y / self.scale, HIT)
        if self.box is not None:
            draw.rectangle([side / self.scale for side in self.box], outline=HIT, width=2)
        return np.asarray(shown)

    def facts(self) -> list[tuple[str, str]]:
        """What the result says, as (name, value)."""
        result = self.result
        height, width = result.size
        share = result.area / (height * width)
        rows = [(f'Score ({result.score_kind})', f'{result.score:.3f}')]
        rows.append(('Predicted IoU', 'not trained' if result.predicted_iou is None else f'{result.predicted_iou:.3f}'))
        rows.append(('Area', f'{result.area:,} pixels ({share:.1%})'))
        if result.box is not None:
            x0, y0, x1, y1 = result.box
            rows.append(('Box', f'x {x0} to {x1}, y {y0} to {y1}'))
        rows.append(('Image', f'{width} x {height}' + (f', {self.crs}' if self.crs else '')))
        if len(result.averaged_over) > 1:
            rows.append(('Averaged over', f'{len(result.averaged_over)} turned copies'))
        rows += [('Empty', result.reason)] if result.reason else []
        return rows + [('Note', note) for note in result.notes]

    def save(self, folder: Path) -> tuple[str, str]:
        """Write mask.png (255 on the target, at the picture's size) and mask.geojson; their paths."""
        png, geojson = folder / 'mask.png', folder / 'mask.geojson'
        Image.fromarray(self.result.mask.astype(np.uint8) * 255).save(png)
        geojson.write_text(json.dumps(self.polygons(), ensure_ascii=False), encoding='utf-8')
        return str(png), str(geojson)

    def polygons(self) -> dict[str, Any]:
        """The mask as GeoJSON along pixel edges: in the scene's CRS, else in pixels, x to the right and y down."""
        result = self.result
        mask = result.mask.astype(np.uint8)
        properties = {
            'expression': result.expression,
            'score': result.score,
            'score_kind': result.score_kind,
            'image': result.image,
            'coordinates': self.crs or 'pixels, x to the right, y down',
        }
        features = [
            {'type': 'Feature', 'properties': properties, 'geometry': geometry}
            for geometry, _ in shapes(mask, mask > 0, connectivity=4, transform=self.transform)
        ]
        collection = {'type': 'FeatureCollection', 'features': features}
        if self.crs:
            # Older than RFC 7946, which knows degrees only; GDAL and QGIS read it.
            name = f'urn:ogc:def:crs:{self.crs.replace(":", "::")}'
            collection['crs'] = {'type': 'name', 'properties': {'name': name}}
        return collection


def open_picture(path: str) -> Session:
    """Open an uploaded file: a GeoTIFF with its place, where the extra [geo] is installed, or a picture.

    Messages and notes name the file as the visitor does, not where it lies here.

    Raises:
        RefSegError: it cannot be read.
    """
    name = Path(path).name
    try:
        if Path(path).suffix.lower() in RASTERS and find_spec('pyogrio') is not None:
            return _open_scene(path)
        return Session(load_image(path)._replace(name=name))
    except RefSegError as error:
        raise type(error)(str(error).replace(path, name)) from error


def _open_scene(path: str) -> Session:
    import rasterio

    from rs2sam2.geo.reader import SceneReader
    from rs2sam2.geo.sources import find_upload

    # Of a visitor's file nothing else is looked at, not even what lies beside it.
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN='EMPTY_DIR'):
        reader = SceneReader(find_upload(path))
        try:
            pixels = reader.read_whole(SCENE_SIDE)
        finally:
            reader.close()
    notes = list(reader.notes)
    if pixels.shape[:2] != reader.shape:
        rows, columns = reader.shape
        notes.append(f'reduced from {columns} x {rows}; rs2sam2 scene segments at full resolution')
    step = Affine.scale(reader.shape[1] / pixels.shape[1], reader.shape[0] / pixels.shape[0])
    code = reader.crs.to_authority() if reader.crs else None
    if reader.crs and code is None:
        notes.append('its CRS has no EPSG code: polygons are in pixels')
    image = InputImage(np.ascontiguousarray(pixels), reader.path, tuple(notes))
    return Session(image) if code is None else Session(image, ':'.join(code), reader.transform @ step)


def _draw_dot(draw: ImageDraw.ImageDraw, x: float, y: float, colour: tuple[int, int, int]) -> None:
    draw.ellipse([x - 9, y - 9, x + 9, y + 9], fill=colour, outline=(255, 255, 255), width=2)
