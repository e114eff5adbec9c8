"""GeoTIFFs on the page: the larger ones go window by window, as `rs2sam2 scene` takes them (extra `[geo]`)."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from rs2sam2.errors import ConfigError
from rs2sam2.geo.reader import SceneReader
from rs2sam2.geo.scene import SceneResult, segment_scene
from rs2sam2.geo.sources import find_upload
from rs2sam2.inference import InferencerWindowPredictor, RefSegInferencer
from rs2sam2.inference.scene_defaults import scene_defaults

SHOWN_SIDE = 2048
# Of a visitor's file nothing else is looked at, not even what lies beside it.
_ALONE = dict(GDAL_DISABLE_READDIR_ON_OPEN='EMPTY_DIR')


@dataclass(frozen=True)
class OpenScene:
    """A visitor's GeoTIFF.

    Attributes:
        path: where it lies here.
        name: what the visitor calls it.
        shape: (rows, columns).
        pixels: the whole of it, reduced to `SHOWN_SIDE`, (h, w, 3) uint8.
        crs: as `EPSG:...`, or None.
        transform: pixel of `pixels` to CRS.
        placed: whether metres are known.
        notes: what the user should know.
    """

    path: str
    name: str
    shape: tuple[int, int]
    pixels: np.ndarray
    crs: str | None
    transform: Affine
    placed: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class WindowedResult:
    """A scene that was segmented window by window.

    Attributes:
        scene: what `segment_scene` says.
        mask: (h, w) bool on the pixels that are shown.
    """

    scene: SceneResult
    mask: np.ndarray

    def facts(self) -> list[tuple[str, str]]:
        """What it says, as (name, value)."""
        scene = self.scene
        share = scene.foreground_pixels / max(1, scene.valid_pixels)
        rows = [(f'Score ({scene.score_kind})', '0.000' if scene.score is None else f'{scene.score:.3f}')]
        rows.append(('Objects', f'{scene.objects:,}'))
        rows.append(('Area', f'{scene.foreground_pixels:,} pixels ({share:.1%})'))
        height, width = scene.window
        how = {'scene': 'the whole scene says where', 'window': 'each by itself'}
        how['meaning'] = 'the words decide among all objects found'
        rows.append(('Windows', f'{scene.windows_run:,} of {width} x {height}, {how[scene.scope]}'))
        return rows


def open_scene(path: str) -> OpenScene:
    """Open a visitor's GeoTIFF.

    Raises:
        RefSegError: it is none, or cannot be read.
    """
    with rasterio.Env(**_ALONE), closing(SceneReader(find_upload(path))) as reader:
        pixels = np.ascontiguousarray(reader.read_whole(SHOWN_SIDE))
    rows, columns = reader.shape
    step = Affine.scale(columns / pixels.shape[1], rows / pixels.shape[0])
    code = reader.crs.to_authority() if reader.crs else None
    crs = ':'.join(code) if code else None
    placed = reader.crs is not None
    return OpenScene(path, reader.path, reader.shape, pixels, crs, reader.transform @ step, placed, tuple(reader.notes))


def window_of(scene: OpenScene, inferencer: RefSegInferencer) -> int | None:
    """Side of the windows that a scene is cut into; None where one view takes the whole."""
    defaults = scene_defaults(inferencer)
    whole = max(scene.shape) <= defaults.window and (defaults.gsd is None or not scene.placed)
    return None if whole else defaults.window


def segment_windows(
    scene: OpenScene,
    inferencer: RefSegInferencer,
    expression: str,
    min_score: float | None,
    folder: Path,
    report: Callable[[float], None],
    min_area: str | None = None,
    simplify: str | None = None,
) -> tuple[WindowedResult, tuple[str, str]]:
    """Segment a scene window by window into a folder.

    Args:
        scene: the scene.
        inferencer: the model.
        expression: what to segment.
        min_score: below this score nothing is segmented.
        folder: where mask.tif and mask.geojson (mask.gpkg where GeoJSON cannot name the CRS) are put.
        report: is called with the finished share.
        min_area: smaller polygons are left out; see `segment_scene`.
        simplify: corners of polygons are left out; see `segment_scene`.

    Raises:
        RefSegError: it cannot be segmented.
    """
    defaults = scene_defaults(inferencer)
    vector = folder / ('mask.gpkg' if scene.placed and scene.crs is None else 'mask.geojson')
    with rasterio.Env(**_ALONE):
        result = segment_scene(
            find_upload(scene.path),
            expression,
            InferencerWindowPredictor(inferencer),
            mask=folder / 'mask.tif',
            polygons=vector,
            window=defaults.window,
            gsd=defaults.gsd if scene.placed else None,
            min_score=min_score,
            min_area=min_area,
            simplify=simplify,
            progress=report,
        )
    with rasterio.open(result.mask) as mask:
        shown = mask.read(1, out_shape=scene.pixels.shape[:2]) == 1
    return WindowedResult(result, shown), (str(result.mask), str(vector))


def refuse_clicks(window: int) -> None:
    """Say that clicks are for what one view shows."""
    raise ConfigError(
        f'clicks refine what the model sees at once; this scene is cut into windows of {window} pixels: clear them'
    )
