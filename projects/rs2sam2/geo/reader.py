"""Windows of a scene as 8-bit RGB images, from any raster that GDAL reads, with the pixels that hold no data."""

import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window

from rs2sam2.errors import ConfigError, DataError
from rs2sam2.geo.ground import pixel_size

_SAMPLE_SIDE = 1024  # of the decimated scene that the stretch is measured on, in pixels
_SAME_GSD = 0.01  # a resolution this close (relative) is the scene's own


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """GDAL's errors as one line that names the file."""
    try:
        yield
    except (RasterioError, MemoryError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        text = ' '.join(str(cause).split()).removeprefix(f'{path}: ') or type(cause).__name__
        raise DataError(f'{path} cannot be read as a raster ({text}); is it whole, and a GeoTIFF or image?') from error


class SceneReader:
    """One scene on the model's grid: the scene's own pixels, or resampled ones of a given ground resolution.

    Bands of 8 bits are passed unchanged. All others are stretched: in each band the two percentiles, over the valid
    pixels of the scene decimated to 1024 pixels, become 0 and 255. A palette becomes its colours.

    Args:
        path: of the raster.
        bands: three band numbers from 1 on for red, green and blue, or one for grey; None takes the bands that call
            themselves red, green and blue, else the first three, else the first.
        nodata: value of pixels without data, in place of the raster's own.
        stretch: the two percentiles.
        gsd: ground size of a pixel of the model's grid in metres; None keeps the scene's pixels.

    Attributes:
        shape: (rows, columns) of the scene.
        grid_shape: (rows, columns) of the model's grid.
        scale: (rows, columns) pixels of the scene that a pixel of the model's grid spans.
        crs: of the scene, or None.
        transform: pixel to CRS; the identity where the scene has none.
        bands: the band numbers that are read.
        notes: what the user should know, one sentence each.

    Raises:
        DataError: the raster cannot be read.
        ConfigError: `bands`, `nodata`, `stretch` or `gsd` do not fit it.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        bands: Sequence[int] | None = None,
        nodata: float | None = None,
        stretch: tuple[float, float] = (2.0, 98.0),
        gsd: float | None = None,
    ) -> None:
        self.path = os.fspath(path)
        self.notes: list[str] = []
        if not os.path.exists(self.path) and '://' not in self.path and not self.path.startswith('/vsi'):
            raise DataError(f'{self.path} is missing; check the path')
        with _explained(self.path), warnings.catch_warnings():
            warnings.simplefilter('ignore', NotGeoreferencedWarning)
            self._dataset = rasterio.open(self.path)
        if not self._dataset.count:
            raise DataError(f'{self.path} holds no bands of its own; name one of its subdatasets')
        self.bands = self._choose_bands(bands)
        if nodata is not None:
            self._override_nodata(nodata)
        self.shape = (self._dataset.height, self._dataset.width)
        self.crs, self.transform = self._dataset.crs, self._dataset.transform
        if self.crs is None:
            way = 'warp it by its control points first' if self._dataset.gcps[0] else 'outputs are plain pixels'
            self.notes.append(f'{self.path} has no CRS: {way}, areas are in pixels')
        self.grid_shape = self._grid(gsd)
        self.scale = tuple(full / side for full, side in zip(self.shape, self.grid_shape, strict=True))
        self._table = self._palette()
        self._range = None if self._table is not None else self._measure_range(stretch)

    def read(self, y: int, x: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray | None]:
        """A window of the model's grid; it may reach beyond the grid at the bottom and on the right.

        Returns:
            The image (height, width, 3) uint8, black beyond the scene, and which pixels hold data (height, width)
            bool, or None when all do.
        """
        rows, columns = min(height, self.grid_shape[0] - y), min(width, self.grid_shape[1] - x)
        image, valid = self._read(self._source_window(y, x, rows, columns), (rows, columns))
        if (rows, columns) != (height, width):
            border = ((0, height - rows), (0, width - columns))
            image = np.pad(image, (*border, (0, 0)))
            valid = np.pad(np.ones((rows, columns), bool) if valid is None else valid, border)
        return image, valid

    def read_whole(self, side: int) -> np.ndarray:
        """The whole scene, its longer side reduced to at most `side` pixels: (h, w, 3) uint8."""
        factor = min(1.0, side / max(self.grid_shape))
        shape = tuple(max(1, round(length * factor)) for length in self.grid_shape)
        return self._read(Window(0, 0, self.shape[1], self.shape[0]), shape)[0]

    def valid(self, y: int, x: int, height: int, width: int) -> np.ndarray | None:
        """Which pixels of a window of the scene (not of the model's grid) hold data; None when all do."""
        with _explained(self.path):
            return self._valid(Window(x, y, width, height), (height, width), None)

    def bytes_for_rows(self, rows: int) -> int:
        """Bytes of the decoded rows of the scene that `rows` rows of the model's grid need, where rows are whole."""
        _, block = self._dataset.block_shapes[0]
        if block < self._dataset.width:
            return 0
        depth = sum(np.dtype(dtype).itemsize for dtype in self._dataset.dtypes)
        return math.ceil(rows * self.scale[0]) * self._dataset.width * depth

    def close(self) -> None:
        """Closes the raster."""
        self._dataset.close()

    def _choose_bands(self, bands: Sequence[int] | None) -> list[int]:
        count = self._dataset.count
        if bands is not None:
            if len(bands) not in (1, 3) or any(not 1 <= band <= count for band in bands):
                raise ConfigError(f'bands {list(bands)} do not fit {self.path}: give 1 or 3 numbers from 1 to {count}')
            return list(bands)
        roles = self._dataset.colorinterp
        colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        if all(colour in roles for colour in colours):
            return [roles.index(colour) + 1 for colour in colours]
        plain = [band for band, role in enumerate(roles, 1) if role != ColorInterp.alpha] or [1]
        return plain[:3] if len(plain) >= 3 else plain[:1]

    def _override_nodata(self, nodata: float) -> None:
        """Reopens the raster through a virtual one that declares the value, so that resampling leaves it out too."""
        dtype = np.dtype(self._dataset.dtypes[self.bands[0] - 1])
        if dtype.kind in 'iu' and not (np.iinfo(dtype).min <= nodata <= np.iinfo(dtype).max and nodata % 1 == 0):
            raise ConfigError(f'nodata {nodata:g} is no value of {self.path}, whose pixels are {dtype}')
        with _explained(self.path), MemoryFile(ext='.vrt') as memory:
            rasterio.shutil.copy(self._dataset, memory.name, driver='VRT')
            tree = ElementTree.fromstring(memory.read())
        for band in tree.findall('VRTRasterBand'):
            for old in [*band.findall('NoDataValue'), *band.findall('MaskBand')]:
                band.remove(old)
            ElementTree.SubElement(band, 'NoDataValue').text = repr(float(nodata))
        for mask in tree.findall('MaskBand'):
            tree.remove(mask)
        for source in tree.iter('SourceFilename'):
            source.text, source.attrib['relativeToVRT'] = os.path.abspath(self.path), '0'
        with _explained(self.path):
            self._dataset.close()
            self._dataset = rasterio.open(ElementTree.tostring(tree, encoding='unicode'))

    def _grid(self, gsd: float | None) -> tuple[int, int]:
        if gsd is None:
            return self.shape
        if not (math.isfinite(gsd) and gsd > 0):
            raise ConfigError(f'gsd is {gsd}; give metres a pixel, above 0')
        height, width = self.shape
        size = None
        if self.crs is not None:
            size = pixel_size(self.crs, self.transform, (width / 2, height / 2))
        if size is None:
            raise ConfigError(f'{self.path} has no known ground resolution, so gsd cannot apply; leave it out')
        if all(abs(gsd / side - 1) < _SAME_GSD for side in size):
            return self.shape
        return max(1, round(height * size[0] / gsd)), max(1, round(width * size[1] / gsd))

    def _palette(self) -> np.ndarray | None:
        if len(set(self.bands)) > 1 or self._dataset.colorinterp[self.bands[0] - 1] != ColorInterp.palette:
            return None
        table = np.zeros((65536, 3), np.uint8)
        for index, colour in self._dataset.colormap(self.bands[0]).items():
            table[index] = colour[:3]
        return table

    def _measure_range(self, stretch: tuple[float, float]) -> np.ndarray | None:
        """Values (2, bands, 1, 1) that become 0 and 255, or None where 8 bits pass unchanged."""
        low, high = stretch
        if not 0 <= low < high <= 100:
            raise ConfigError(f'stretch {list(stretch)} must be two percentiles, ascending, within 0 to 100')
        dtypes = {np.dtype(self._dataset.dtypes[band - 1]) for band in self.bands}
        if any(dtype.kind == 'c' for dtype in dtypes):
            raise DataError(f'{self.path} holds complex numbers; make amplitudes of them first')
        bits = self._dataset.tags(self.bands[0], ns='IMAGE_STRUCTURE').get('NBITS', '8')
        if dtypes == {np.dtype(np.uint8)} and bits == '8':
            return None
        if bits == '1':
            return np.repeat(np.float32([[0], [1]]), len(self.bands), axis=1)[..., None, None]
        factor = min(1.0, _SAMPLE_SIDE / max(self.shape))
        shape = tuple(max(1, round(length * factor)) for length in self.shape)
        with _explained(self.path):
            data = self._dataset.read(self.bands, out_shape=(len(self.bands), *shape))
            valid = self._valid(Window(0, 0, self.shape[1], self.shape[0]), shape, data)
        samples = data.reshape(len(data), -1) if valid is None else data[:, valid]
        if not samples.size:
            self.notes.append(f'{self.path}: no pixel of the decimated scene holds data, so nothing is stretched')
            samples = np.array([[0.0, 255.0]] * len(data))
        ends = np.percentile(samples.astype(np.float64), stretch, axis=1)
        shown = ', '.join(f'{first:g} to {last:g}' for first, last in ends.T)
        self.notes.append(f'{self.path}: percentiles {low:g} and {high:g} stretched to 8 bits ({shown})')
        return ends[..., None, None].astype(np.float32)

    def _source_window(self, y: int, x: int, rows: int, columns: int) -> Window:
        if self.grid_shape == self.shape:
            return Window(x, y, columns, rows)
        (down, right), (height, width) = self.scale, self.shape
        top, left = y * down, x * right
        return Window(left, top, min(columns * right, width - left), min(rows * down, height - top))

    def _read(self, window: Window, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        shrinks = window.height > shape[0] or window.width > shape[1]
        how = Resampling.average if shrinks else Resampling.bilinear
        if self._table is not None:
            how = Resampling.nearest
        with _explained(self.path):
            data = self._dataset.read(self.bands, window=window, out_shape=(len(self.bands), *shape), resampling=how)
            valid = self._valid(window, shape, data)
        if self._table is not None:
            return self._table[data[0]], valid
        if self._range is not None:
            low, high = self._range
            span = np.where(high > low, high - low, np.inf)  # a constant band is black
            data = np.nan_to_num((data - low) * (np.float32(255) / span) + np.float32(0.5), nan=0)
            data = data.clip(0, 255).astype(np.uint8)
            if valid is not None:
                data *= valid
        if len(data) == 1:
            data = np.broadcast_to(data, (3, *shape))
        return np.ascontiguousarray(data.transpose(1, 2, 0)), valid

    def _valid(self, window: Window, shape: tuple[int, int], data: np.ndarray | None) -> np.ndarray | None:
        """Where any of the bands holds data, and all of them are finite numbers."""
        valid = None
        flags = [self._dataset.mask_flag_enums[band - 1] for band in self.bands]
        if any(MaskFlags.all_valid not in flag for flag in flags):
            shared = any(MaskFlags.per_dataset in flag for flag in flags)
            bands = self.bands[:1] if shared else self.bands
            valid = self._dataset.read_masks(bands, window=window, out_shape=(len(bands), *shape)).any(axis=0)
        if np.dtype(self._dataset.dtypes[self.bands[0] - 1]).kind == 'f':
            if data is None:
                data = self._dataset.read(self.bands, window=window, out_shape=(len(self.bands), *shape))
            finite = np.isfinite(data).all(axis=0)
            valid = finite if valid is None else valid & finite
        return None if valid is None or valid.all() else valid
