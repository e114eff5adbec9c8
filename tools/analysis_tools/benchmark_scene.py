"""Measures the scene pipeline around the model: windows per second with a model that computes nothing.

python tools/analysis_tools/benchmark_scene.py [--scene FILE | --size 8192] [--seconds-per-window S]
"""

import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.transform import from_origin
from rasterio.windows import Window
from rich.table import Table

from rs2sam2.engine.arguments import make_parser
from rs2sam2.errors import RefSegError
from rs2sam2.geo.predictor import WindowPredictor
from rs2sam2.geo.scene import SceneResult, segment_scene
from rs2sam2.terminal import plain_console

_BLOCK = 512
_STAGES = {
    'read': 'windows read and decoded (thread beside the others)',
    'wait': 'the model waits for the reader',
    'predict': 'both views made, log-odds enlarged to the window',
    'blend': 'taper, sum on disk',
    'mask': 'mask and probability',
    'polygons': 'objects traced and written',
    'cog': 'COGs compressed, overviews',
    'total': 'wall clock',
}


class NullModel:
    """Makes both views and enlarges a quarter-size answer as a model would; the answer itself is the green band."""

    def predict(self, images: list[np.ndarray], expression: str) -> np.ndarray:
        """See `WindowPredictor`."""
        return np.stack([self._answer(image) for image in images])

    def _answer(self, image: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(image)
        view = np.asarray(picture.resize((1024, 1024), Image.Resampling.BILINEAR))
        np.asarray(picture.resize((224, 224), Image.Resampling.BILINEAR))
        quarter = (view[::4, ::4, 1].astype(np.float32) - 127.5) / 16
        return np.asarray(Image.fromarray(quarter).resize(image.shape[1::-1], Image.Resampling.BILINEAR))


def write_synthetic_scene(path: Path, height: int, width: int, seed: int = 0) -> None:
    """A tiled 3-band GeoTIFF of textured ground with bright discs, one block in memory at a time."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:_BLOCK, :_BLOCK]
    blocks = []
    for _ in range(8):
        block = rng.integers(60, 100, (3, _BLOCK, _BLOCK), dtype=np.uint8)
        for y, x, radius in rng.integers((0, 0, 8), (_BLOCK, _BLOCK, 60), (6, 3)):
            block[:, (rows - y) ** 2 + (columns - x) ** 2 < radius**2] += 120
        blocks.append(block)
    profile = dict(driver='GTiff', height=height, width=width, count=3, dtype='uint8', tiled=True, compress='lzw')
    profile |= dict(blockxsize=_BLOCK, blockysize=_BLOCK, bigtiff='if_safer', crs='EPSG:32632')
    with rasterio.open(path, 'w', **profile, transform=from_origin(4e5, 5.3e6, 0.5, 0.5)) as scene:
        for y in range(0, height, _BLOCK):
            for x in range(0, width, _BLOCK):
                rows_left, columns_left = min(_BLOCK, height - y), min(_BLOCK, width - x)
                block = blocks[rng.integers(len(blocks))][:, :rows_left, :columns_left]
                scene.write(block, window=Window(x, y, columns_left, rows_left))


def run(scene: Path, folder: Path, model: WindowPredictor, batch_size: int, window: int) -> SceneResult:
    """The scene through the pipeline with all three outputs."""
    return segment_scene(
        scene,
        'the bright disc',
        model,
        mask=folder / 'mask.tif',
        probability=folder / 'probability.tif',
        polygons=folder / 'objects.gpkg',
        window=window,
        batch_size=batch_size,
    )


def main() -> None:
    """Prints windows per second and the seconds of each stage."""
    parser = make_parser(__doc__)
    parser.add_argument('--scene', type=Path, help='raster to run; default: a synthetic one of --size')
    parser.add_argument('--size', type=int, default=8192, help='side of the synthetic scene in pixels')
    parser.add_argument('--window', type=int, default=1024)
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--work-dir', type=Path, help='where scene and outputs are put; default: a temporary folder')
    parser.add_argument('--seconds-per-window', type=float, help="a model's own, to state the pipeline's share")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.work_dir) as name:
        folder = Path(name)
        scene = args.scene
        if scene is None:
            scene = folder / 'scene.tif'
            write_synthetic_scene(scene, args.size, args.size)
        try:
            before = time.process_time()
            result = run(scene, folder, NullModel(), args.batch_size, args.window)
            busy = time.process_time() - before
        except RefSegError as error:
            parser.exit(2, f'{error}\n')
    total = result.seconds['total']
    table = Table('stage', 'seconds', 'ms a window', 'what')
    for stage, what in _STAGES.items():
        seconds = result.seconds.get(stage, 0.0)
        table.add_row(stage, f'{seconds:.2f}', f'{1000 * seconds / max(result.windows_run, 1):.1f}', what)
    console = plain_console()
    console.print(table)
    console.print(f'{result.windows_run} windows of {args.window}, {result.windows_run / total:.1f} windows/s')
    # On a machine that others use too, the processor time says more than the wall clock.
    console.print(f'{1000 * busy / max(result.windows_run, 1):.1f} ms of processor time a window, all threads together')
    console.print(f'{result.objects} objects, peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB')
    if args.seconds_per_window:
        share = total / (total + args.seconds_per_window * result.windows_run)
        console.print(f'share outside the model, if it takes {args.seconds_per_window:g} s a window: {share:.2%}')


if __name__ == '__main__':
    main()
