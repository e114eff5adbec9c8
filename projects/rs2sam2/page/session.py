"""What one visitor of the page has open: a picture, clicks, a result; and the pictures and files made of them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from PIL import Image, ImageDraw

from rs2sam2.errors import RefSegError
from rs2sam2.inference import RefSegInferencer, SegmentationResult
from rs2sam2.inference.images import InputImage, load_image
from rs2sam2.inference.points import BESIDE, ON
from rs2sam2.page.polygons import clean_mask
from rs2sam2.visualization.overlay import FALSE, FOUND, HIT, draw_regions

if TYPE_CHECKING:
    from rs2sam2.page.scenes import OpenScene, WindowedResult

VIEW_SIDE = 1024
RASTERS = ('.tif', '.tiff')
ON_TARGET, BESIDE_TARGET, BOX_CORNER = 'on the target', 'beside the target', 'two corners of a box'


@dataclass(frozen=True)
class Session:
    """What a visitor has open; every action returns a new one.

    Attributes:
        image: the picture, or None.
        crs: of a georeferenced picture as `EPSG:...`, or None.
        transform: pixel to CRS.
        scene: the GeoTIFF that the picture shows, or None.
        points: clicks (x, y, label) in pixels of the picture.
        corners: of the box, none, one or two (x, y).
        result: of the last segmentation, or None.
        files: mask and polygons of the last segmentation, or none.
    """

    image: InputImage | None = None
    crs: str | None = None
    transform: Affine = field(default_factory=Affine.identity)
    scene: 'OpenScene | None' = None
    points: tuple[tuple[float, float, int], ...] = ()
    corners: tuple[tuple[float, float], ...] = ()
    result: 'SegmentationResult | WindowedResult | None' = None
    files: tuple[str, ...] = ()

    @property
    def opened(self) -> InputImage:
        """The picture, where one is open: without one nothing of the following is offered."""
        assert self.image is not None
        return self.image

    @property
    def found(self) -> SegmentationResult:
        """The result of a picture that one view takes."""
        assert isinstance(self.result, SegmentationResult)
        return self.result

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
        return max(self.opened.pixels.shape[:2]) / VIEW_SIDE

    def click(self, x: float, y: float, meaning: str) -> 'Session':
        """Add a click at a pixel of the shown picture; a third corner begins a new box."""
        x, y = (x + 0.5) * self.scale, (y + 0.5) * self.scale
        height, width = self.opened.pixels.shape[:2]
        x, y = min(x, width - 1), min(y, height - 1)
        if meaning == BOX_CORNER:
            return replace(self, corners=(*(self.corners if len(self.corners) == 1 else ()), (x, y)))
        return replace(self, points=(*self.points, (x, y, ON if meaning == ON_TARGET else BESIDE)))

    def segment(
        self,
        inferencer: RefSegInferencer,
        expression: str,
        min_score: float,
        folder: Path | None = None,
        report: Callable[[float], None] = lambda share: None,
        min_area: str | None = None,
        simplify: str | None = None,
    ) -> 'Session':
        """Segment the picture, or the scene that it shows.

        Args:
            inferencer: the model.
            expression: what to segment.
            min_score: the mask is emptied below this score.
            folder: where mask and polygons are put, an empty one; None: `save` makes them.
            report: is called with the finished share of a scene.
            min_area: smaller polygons are left out of the file: pixels, or '50m2' on the ground.
            simplify: their corners are left out where the outline moves by about so much: pixels, or '2m'.

        Raises:
            RefSegError: the expression, the clicks or the measures cannot be used.
        """
        least = min_score if min_score > 0 else None
        # Gradio sends None for a field that was never shown, as in a closed accordion.
        cleaning = ((min_area or '').strip() or None, (simplify or '').strip() or None)
        if self.scene is not None and folder is not None:
            from rs2sam2.page.scenes import refuse_clicks, segment_windows, window_of

            if (window := window_of(self.scene, inferencer)) is not None:
                if self.points or self.corners:
                    refuse_clicks(window)
                windowed, files = segment_windows(self.scene, inferencer, expression, least, folder, report, *cleaning)
                return replace(self, result=windowed, files=files)
        image = self.opened
        (result,) = inferencer(image.pixels, expression, box=self.box, point=self.points or None, min_score=least)
        done = replace(self, result=replace(result, image=image.name, notes=(*image.notes, *result.notes)))
        return done if folder is None else done.save(folder, *cleaning)

    def picture(self, opacity: float) -> np.ndarray:
        """The picture with mask and clicks over it, (h, w, 3) uint8, its longer side `VIEW_SIDE`."""
        height, width = self.opened.pixels.shape[:2]
        size = (max(1, round(width / self.scale)), max(1, round(height / self.scale)))
        shown = Image.fromarray(self.opened.pixels).resize(size, Image.Resampling.BICUBIC)
        if self.result is not None and self.result.mask.any() and opacity > 0:
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
        windowed = None if isinstance(self.result, SegmentationResult) else self.result
        if self.scene is not None and windowed is not None:
            height, width = self.scene.shape
            notes = dict.fromkeys((*self.opened.notes, *windowed.scene.notes))
            rows = [*windowed.facts(), ('Image', f'{width:,} x {height:,}' + (f', {self.crs}' if self.crs else ''))]
            return rows + [('Note', note) for note in notes]
        result = self.found
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

    def save(self, folder: Path, min_area: str | None = None, simplify: str | None = None) -> 'Session':
        """Write mask.png (255 on the target, at the picture's size) and mask.geojson; the session that has them.

        Args:
            folder: where they go.
            min_area: smaller parts are left out of the outlines, see `clean_mask`.
            simplify: corners are left out of them, see `clean_mask`.

        Raises:
            ConfigError: the measures cannot be used.
        """
        geometries, notes = clean_mask(self.found.mask, self.transform, self.crs, min_area, simplify)
        png, geojson = folder / 'mask.png', folder / 'mask.geojson'
        Image.fromarray(self.found.mask.astype(np.uint8) * 255).save(png)
        geojson.write_text(json.dumps(self._geojson(geometries), ensure_ascii=False), encoding='utf-8')
        result = replace(self.found, notes=(*self.found.notes, *notes))
        return replace(self, result=result, files=(str(png), str(geojson)))

    def _geojson(self, geometries: list[dict[str, Any]]) -> dict[str, Any]:
        """The outlines as GeoJSON: in the scene's CRS, else in pixels, x to the right and y down."""
        result = self.found
        properties = {
            'expression': result.expression,
            'score': result.score,
            'score_kind': result.score_kind,
            'image': result.image,
            'coordinates': self.crs or 'pixels, x to the right, y down',
        }
        features = [{'type': 'Feature', 'properties': properties, 'geometry': geometry} for geometry in geometries]
        collection: dict[str, Any] = {'type': 'FeatureCollection', 'features': features}
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
        if Path(path).suffix.lower() not in RASTERS or find_spec('pyogrio') is None:
            return Session(load_image(path)._replace(name=name))
        from rs2sam2.page.scenes import open_scene

        scene = open_scene(path)
    except RefSegError as error:
        raise type(error)(str(error).replace(path, name)) from error
    return Session(InputImage(scene.pixels, name, scene.notes), scene.crs, scene.transform, scene)


def _draw_dot(draw: ImageDraw.ImageDraw, x: float, y: float, colour: tuple[int, int, int]) -> None:
    draw.ellipse([x - 9, y - 9, x + 9, y + 9], fill=colour, outline=(255, 255, 255), width=2)
