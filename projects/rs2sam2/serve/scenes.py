"""One scene's job through the shared model: the one place that calls `segment_scene`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Interleaving

from rs2sam2.errors import DataError
from rs2sam2.geo.scene import segment_scene
from rs2sam2.geo.sources import RasterSource, explained, find_upload, open_raster
from rs2sam2.inference import InferencerWindowPredictor, RefSegInferencer
from rs2sam2.inference.scene_defaults import scene_defaults
from rs2sam2.serve.jobs import UPLOAD, Job, JobStore
from rs2sam2.serve.model import SharedModel
from rs2sam2.serve.paths import allowed_scene
from rs2sam2.serve.schemas import SceneFound
from rs2sam2.serve.settings import ServeSettings

# Of a client's file nothing else is looked at, not even what lies beside it.
_ALONE = dict(GDAL_DISABLE_READDIR_ON_OPEN='EMPTY_DIR')
# A block is decoded whole, and a file of a few bytes can claim one of any size.
_MOST_BLOCK = 512 * 10**6


class SharedWindows(InferencerWindowPredictor):
    """Takes turns with the images: after each batch of windows others may use the model.

    Args:
        model: the shared one.
        inferencer: it, with its turned copies.
        check: is called before each batch, and raises where the job is to end.
    """

    def __init__(self, model: SharedModel, inferencer: RefSegInferencer, check: Callable[[], None]) -> None:
        super().__init__(inferencer)
        self._shared, self._check = model, check

    def predict(self, images: Sequence[np.ndarray], expression: str) -> np.ndarray:
        """Log-odds of foreground, (n, h, w) float32."""
        self._check()
        return self._shared.run(super().predict, images, expression)


def run_scene(
    store: JobStore,
    settings: ServeSettings,
    model: SharedModel,
    job: Job,
    report: Callable[[float], None],
    check: Callable[[], None],
) -> SceneFound:
    """Segment a job's scene into its folder, as `rs2sam2 scene` does.

    Args:
        store: where jobs lie.
        settings: the folders that may be read; they may be others than when the job was made.
        model: the shared one.
        job: the job.
        report: is called with the finished share of the windows.
        check: raises where the job is to end.

    Returns:
        What is said of the result.

    Raises:
        RefSegError: it cannot be segmented.
    """
    options = job.options
    inferencer = model.turned(options.tta)
    defaults = scene_defaults(inferencer)
    folder = store.results_of(job)

    def progress(share: float) -> None:
        report(share)
        check()  # windows without data never come to the model

    outputs = {name: folder / file for name, file in job.outputs.items()}
    with rasterio.Env(**(_ALONE if job.uploaded else {})):
        result = segment_scene(
            scene_of(job, store, settings),
            options.expression,
            SharedWindows(model, inferencer, check),
            mask=outputs.get('mask'),
            probability=outputs.get('probability'),
            polygons=outputs.get('polygons'),
            window=options.window or defaults.window,
            overlap=options.overlap,
            gsd=options.gsd or defaults.gsd,
            bands=None if options.bands is None else [int(band) for band in options.bands.split(',')],
            nodata=options.nodata,
            scope=options.scope,
            min_score=options.min_score,
            min_area=options.min_area,
            simplify=options.simplify,
            progress=progress,
        )
    told = {name: getattr(result, name) for name in SceneFound.model_fields if hasattr(result, name)}
    notes = [*result.notes, *inferencer.expression_notes(options.expression)]
    told |= dict(notes=notes, trained_on=inferencer.trained_on)
    return SceneFound.model_validate({name: _plain(value) for name, value in told.items()})


def _plain(value: Any) -> Any:
    """Without NumPy's numbers."""
    return value.item() if isinstance(value, np.generic) else value


def scene_of(job: Job, store: JobStore, settings: ServeSettings) -> RasterSource:
    """The raster of a job, looked for anew: links and the server's folders may be others than when it was made."""
    if not job.uploaded:
        return allowed_scene(job.scene, settings.roots, job.place)
    return find_upload(store.folder_of(job) / UPLOAD)._replace(given=job.scene)


def try_scene(source: RasterSource, alone: bool) -> None:
    """Open a raster once, before a job is made of it.

    Raises:
        DataError: it is none, cannot be read, or could only be read in parts that would fill the memory.
    """
    with rasterio.Env(**(_ALONE if alone else {})), explained(source), open_raster(source) as dataset:
        height, width = dataset.block_shapes[0]
        together = dataset.count if dataset.interleaving == Interleaving.pixel else 1
        size = height * width * together * np.dtype(dataset.dtypes[0]).itemsize
    if size > _MOST_BLOCK:
        raise DataError(
            f'{source.given} is stored in blocks of {width:,} x {height:,} pixels, more than {_MOST_BLOCK // 10**6} MB '
            'each: store it tiled (gdal_translate -co TILED=YES)'
        )
