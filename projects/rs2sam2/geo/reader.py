"""Windows of a scene as 8-bit RGB images, from any raster that GDAL reads, with the pixels that hold no data."""

import math
import os
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.windows import Window

from rs2sam2.datasets.images import orientation_of
from rs2sam2.errors import ConfigError, DataError
from rs2sam2.geo.aoi import AreaOfInterest
from rs2sam2.geo.ground import bearing_of_up, pixel_size
from rs2sam2.geo.nodata import NO_MEASUREMENT, NodataValue, virtual_with_nodata
from rs2sam2.geo.sources import RasterSource, explained, find_source, open_raster, source_notes

_SAMPLE_SIDE = 1024  # of the decimated scene that the stretch is measured on, in pixels
_SAME_GSD = 0.01  # a resolution this close (relative) is the scene's own
_ENLARGED = 16  # the most times that gsd may enlarge a side
_SEEN = 32  # pixels; a scene that gsd makes smaller than that shows little
_OTHER_COLOURS = {
    ColorInterp[name]
    for name in ('cyan', 'magenta', 'yellow', 'black', 'hue', 'saturation', 'lightness', 'Y', 'Cb', 'Cr')
}
_NAMED_PARTS = 8  # subdatasets that an error names

Ends = tuple[tuple[float, ...], tuple[float, ...]]
"""Values that become 0, one a band, and values that become 255."""


class SceneReader:
    """One scene on the model's grid: the scene's own pixels, or resampled ones of a given ground resolution.

    Bands of 8 bits are passed unchanged. All others are stretched: in each band the two percentiles, over the valid
    pixels of the scene decimated to 1024 pixels, become 0 and 255. A palette becomes its colours.

    Args:
        path: of the raster, or an address or part of one; see `geo.sources`.
        bands: three band numbers from 1 on for red, green and blue, or one for grey; None takes the bands that call
            themselves red, green and blue, else the first three, else the first.
        nodata: value of pixels without data, in place of the raster's own.
        stretch: the two percentiles.
        gsd: ground size of a pixel of the model's grid in metres; None keeps the scene's pixels.
        ends: what another reader of this scene measured; None measures.

    Attributes:
        shape: (rows, columns) of the scene.
        grid_shape: (rows, columns) of the model's grid.
        scale: (rows, columns) pixels of the scene that a pixel of the model's grid spans.
        crs: of the scene, or None.
        transform: pixel to CRS; the identity where the scene has none.
        bands: the band numbers that are read.
        files: what the scene consists of: the file itself, those beside it, those that a virtual raster names.
        ends: the values that become 0 and 255, (low of each band, high of each band); None where nothing is stretched.
        nodata_found: whether a pixel read so far had no data by the raster's value, alpha or mask, or by `nodata`.
        notes: what the user should know, one sentence each.

    Raises:
        DataError: the raster cannot be read.
        ConfigError: `bands`, `nodata`, `stretch` or `gsd` do not fit it.
    """

    def __init__(
        self,
        path: str | os.PathLike | RasterSource,
        bands: Sequence[int] | None = None,
        nodata: float | None = None,
        stretch: tuple[float, float] = (2.0, 98.0),
        gsd: float | None = None,
        ends: Ends | None = None,
    ) -> None:
        source = path if isinstance(path, RasterSource) else find_source(path)
        self.path = source.given
        _check_stretch(stretch)
        self._source = source
        with explained(source):
            self._dataset = open_raster(source)
            parts = self._dataset.subdatasets
            self.notes = [*source_notes(source, self._dataset), *self._count_pages(parts)]
            self.files = list(self._dataset.files)
            self.shape = (self._dataset.height, self._dataset.width)
            self.crs, self.transform = self._find_place()
        if not self._dataset.count:
            shown = ', '.join(parts[:_NAMED_PARTS]) + ', ...' * (len(parts) > _NAMED_PARTS)
            raise DataError(f'{self.path} holds no bands of its own; name one of its subdatasets: {shown or "none"}')
        self.bands = self._choose_bands(bands)
        dtypes = [_dtype(self._dataset.dtypes[band - 1]) for band in self.bands]
        if any(dtype.kind == 'c' for dtype in dtypes):
            raise DataError(f'{self.path} holds complex numbers; make amplitudes of them first')
        self._dtypes = dtypes
        # Where pixels are read from, and which of its bands.
        self._pixels, self._indices = self._dataset, self.bands
        self._nodata: list[NodataValue] = []
        self.nodata_found = False
        if nodata is not None:
            self._override_nodata(nodata)
        self.grid_shape = self._grid(gsd)
        self.scale = tuple(full / side for full, side in zip(self.shape, self.grid_shape, strict=True))
        self._table = self._palette()
        self.ends = None if self._table is not None else ends or self._measure_ends(stretch)
        self._range = None if self.ends is None else _range_of(self.ends, dtypes)
        self._area: AreaOfInterest | None = None

    def restrict(self, area: AreaOfInterest) -> None:
        """From now on only pixels inside an area hold data."""
        self._area = area

    def read(self, y: int, x: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray | None]:
        """A window of the model's grid; it may reach beyond the grid at the bottom and on the right.

        Returns:
            The image (height, width, 3) uint8, black beyond the scene, and which pixels hold data (height, width)
            bool, or None when all do.
        """
        rows, columns = min(height, self.grid_shape[0] - y), min(width, self.grid_shape[1] - x)
        window = self._source_window(y, x, rows, columns)
        inside = self._inside(window, (rows, columns))
        if inside is not None and not inside.any():
            return np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
        image, valid = self._read(window, (rows, columns))
        valid = _both(valid, inside)
        if (rows, columns) != (height, width):
            border = ((0, height - rows), (0, width - columns))
            image = np.pad(image, (*border, (0, 0)))
            valid = np.pad(np.ones((rows, columns), bool) if valid is None else valid, border)
        return image, valid

    def read_whole(self, side: int) -> np.ndarray:
        """The whole scene, its longer side reduced to at most `side` pixels: (h, w, 3) uint8."""
        factor = min(1.0, side / max(self.grid_shape))
        height, width = (max(1, round(length * factor)) for length in self.grid_shape)
        return self._read(Window(0, 0, self.shape[1], self.shape[0]), (height, width))[0]

    def valid(self, y: int, x: int, height: int, width: int) -> np.ndarray | None:
        """Which pixels of a window of the scene (not of the model's grid) hold data; None when all do."""
        window, shape = Window(x, y, width, height), (height, width)
        inside = self._inside(window, shape)
        if inside is not None and not inside.any():
            return inside
        with explained(self._source):
            return _both(self._valid(window, shape, None), inside)

    def _inside(self, window: Window, shape: tuple[int, int]) -> np.ndarray | None:
        if self._area is None:
            return None
        return self._area.covers(window.row_off, window.col_off, window.height, window.width, shape)

    def metres(self) -> float | None:
        """What a pixel of the model's grid spans at the scene's centre, its longer side; None where nobody knows."""
        height, width = self.shape
        size = None if self.crs is None else pixel_size(self.crs, self.transform, (width / 2, height / 2))
        return None if size is None else max(side * scale for side, scale in zip(size, self.scale, strict=True))

    def bearing(self) -> float | None:
        """Degrees from north to the top of the picture at the scene's centre; None where nobody knows."""
        height, width = self.shape
        return None if self.crs is None else bearing_of_up(self.crs, self.transform, (width / 2, height / 2))

    def bytes_for_rows(self, rows: int) -> int:
        """Bytes of the decoded rows of the scene that `rows` rows of the model's grid need, where rows are whole."""
        _, block = self._dataset.block_shapes[0]
        if block < self._dataset.width:
            return 0
        depth = sum(np.dtype(dtype).itemsize for dtype in self._dataset.dtypes)
        return math.ceil(rows * self.scale[0]) * self._dataset.width * depth

    def close(self) -> None:
        """Closes the raster."""
        self._pixels.close()
        self._dataset.close()

    def _count_pages(self, parts: Sequence[str]) -> list[str]:
        if self._dataset.driver != 'GTiff' or len(parts) < 2 or self.path.upper().startswith('GTIFF_DIR:'):
            return []
        return [f'{self.path} has {len(parts):,} pages and the first is read; {parts[1]} names the second']

    def _find_place(self) -> tuple[CRS | None, Affine]:
        """CRS and transform, with a note where there is no place on the earth, or half of one."""
        dataset, transform = self._dataset, self._dataset.transform
        placed = transform != Affine.identity() and math.isfinite(transform.determinant) and transform.determinant != 0
        if placed and dataset.crs is not None:
            return dataset.crs, transform
        plain = 'outputs are plain pixels and areas are in pixels'
        if placed:
            why = 'coordinates, as of a world file, but no CRS: outputs keep the coordinates, areas are in pixels'
        elif dataset.gcps[0]:
            why = f'control points alone: {plain}; warp it by them first (gdalwarp)'
        elif dataset.rpcs is not None:
            why = f'rational polynomials (RPCs) alone: {plain}; orthorectify it first (gdalwarp -rpc)'
        elif dataset.crs is not None:
            why = f'a CRS but no coordinates (no geotransform): {plain}'
        else:
            why = f'no CRS: {plain}'
        self.notes.append(f'{self.path} has {why}')
        if not placed and (orientation := orientation_of(self._source.name)) != 1:
            self.notes.append(
                f'{self.path} is stored turned (EXIF orientation {orientation}) and is taken as it is stored, as a GIS '
                'shows it, words such as "left" too; rs2sam2 segment turns it upright'
            )
        return None, transform if placed else Affine.identity()

    def _choose_bands(self, bands: Sequence[int] | None) -> list[int]:
        count = self._dataset.count
        if bands is not None:
            numbers = [] if isinstance(bands, str) or not isinstance(bands, Sequence | np.ndarray) else list(bands)
            whole = all(isinstance(band, Integral) and not isinstance(band, bool) for band in numbers)
            if len(numbers) not in (1, 3) or not whole or any(not 1 <= band <= count for band in numbers):
                raise ConfigError(
                    f'bands {bands!r} do not fit {self.path}: give 1 or 3 whole numbers from 1 to {count}'
                )
            return [int(band) for band in numbers]
        roles = self._dataset.colorinterp
        colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        if all(colour in roles for colour in colours):
            return [roles.index(colour) + 1 for colour in colours]
        if other := [role.name for role in roles if role in _OTHER_COLOURS]:
            raise DataError(
                f'{self.path} has the bands {", ".join(other)}, not red, green and blue: save it in RGB, or name the '
                'bands to take (bands, --bands)'
            )
        plain = [band for band, role in enumerate(roles, 1) if role != ColorInterp.alpha] or [1]
        return plain[:3] if len(plain) >= 3 else plain[:1]

    def _override_nodata(self, nodata: float) -> None:
        """Reads through a virtual raster that declares the value, so that resampling leaves it out too."""
        if not isinstance(nodata, Real):
            raise ConfigError(f'nodata {nodata!r} is no number')
        self._nodata = [NodataValue(nodata, dtype, self.path) for dtype in self._dtypes]
        text = virtual_with_nodata(self._source, self._dataset, self.bands, self._nodata)
        with explained(self._source):
            self._pixels = open_raster(RasterSource(self.path, text, ('VRT',)))
        self._indices = list(range(1, len(self.bands) + 1))

    def _grid(self, gsd: float | None) -> tuple[int, int]:
        if gsd is None:
            return self.shape
        if not isinstance(gsd, Real) or not (math.isfinite(gsd) and gsd > 0):
            raise ConfigError(f'gsd is {gsd!r}; give metres a pixel, above 0')
        height, width = self.shape
        size = None
        if self.crs is not None:
            size = pixel_size(self.crs, self.transform, (width / 2, height / 2))
        if size is None:
            raise ConfigError(f'{self.path} has no known ground resolution, so gsd cannot apply; leave it out')
        if all(abs(gsd / side - 1) < _SAME_GSD for side in size):
            return self.shape
        finest = max(size) / _ENLARGED
        if gsd < finest:
            raise ConfigError(
                f'gsd {gsd:g} is over {_ENLARGED} times finer than the pixels of {self.path} ({max(size):g} m), where '
                f'nothing more is to be seen; give {finest:.3g} or more, or enlarge the raster itself (gdalwarp -tr)'
            )
        grid = max(1, round(height * size[0] / gsd)), max(1, round(width * size[1] / gsd))
        if max(grid) < min(_SEEN, *self.shape):
            self.notes.append(
                f'gsd {gsd:g} makes {grid[1]} x {grid[0]} pixels of the whole scene: little is to be seen'
            )
        return grid

    def _palette(self) -> np.ndarray | None:
        if len(set(self.bands)) > 1 or self._dataset.colorinterp[self.bands[0] - 1] != ColorInterp.palette:
            return None
        table = np.zeros((65536, 3), np.uint8)
        for index, colour in self._dataset.colormap(self.bands[0]).items():
            table[index] = colour[:3]
        return table

    def _measure_ends(self, stretch: tuple[float, float]) -> Ends | None:
        """Values that become 0 and 255, or None where 8 bits pass unchanged."""
        bits = self._dataset.tags(self.bands[0], ns='IMAGE_STRUCTURE').get('NBITS', '8')
        if set(self._dtypes) == {np.dtype(np.uint8)} and bits == '8':
            return None
        if bits == '1':
            return (0.0,) * len(self.bands), (1.0,) * len(self.bands)
        factor = min(1.0, _SAMPLE_SIDE / max(self.shape))
        shape = tuple(max(1, round(length * factor)) for length in self.shape)
        with explained(self._source):
            whole = Window(0, 0, self.shape[1], self.shape[0])
            data = self._read_bands(whole, shape)
            valid = self._valid(whole, shape, data)
        samples = data.reshape(len(data), -1) if valid is None else data[:, valid]
        if not samples.size:
            self.notes.append(f'{self.path}: no pixel of the decimated scene holds data, so nothing is stretched')
            return (0.0,) * len(data), (255.0,) * len(data)
        ends = np.percentile(samples.astype(np.float64), stretch, axis=1)
        low, high = stretch
        shown = ', '.join(f'{first:g} to {last:g}' for first, last in ends.T)
        self.notes.append(f'{self.path}: percentiles {low:g} and {high:g} stretched to 8 bits ({shown})')
        if np.abs(ends).max() >= NO_MEASUREMENT:
            self.notes.append(
                f'{self.path}: numbers of that size are no measurements; if its pixels without data have them, name '
                'the value (nodata, --nodata)'
            )
        return tuple(ends[0].tolist()), tuple(ends[1].tolist())

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
        with explained(self._source):
            data = self._read_bands(window, shape, how)
            valid = self._valid(window, shape, data)
        if self._table is not None:
            return self._table[data[0]], valid
        if self._range is not None:
            low, high = self._range
            with np.errstate(over='ignore', invalid='ignore'):  # of pixels without data
                span = np.where(high > low, high - low, np.inf)  # a constant band is black
                data = np.nan_to_num((data - low) * (span.dtype.type(255) / span) + span.dtype.type(0.5), nan=0)
            data = data.clip(0, 255).astype(np.uint8)
            if valid is not None:
                data *= valid
        if len(data) == 1:
            data = np.broadcast_to(data, (3, *shape))
        return np.ascontiguousarray(data.transpose(1, 2, 0)), valid

    def _read_bands(self, window: Window, shape: tuple[int, int], how: Resampling = Resampling.nearest) -> np.ndarray:
        """Pixels (bands, *shape), of the type that holds those of all bands."""
        if len(set(self._dtypes)) == 1:
            return self._pixels.read(
                self._indices, window=window, out_shape=(len(self._indices), *shape), resampling=how
            )
        each = [self._pixels.read(index, window=window, out_shape=shape, resampling=how) for index in self._indices]
        return np.stack(each).astype(np.result_type(*self._dtypes))

    def _valid(self, window: Window, shape: tuple[int, int], data: np.ndarray | None) -> np.ndarray | None:
        """Where any of the bands holds data, and all of them are finite numbers."""
        valid = None
        floats = any(dtype.kind == 'f' for dtype in self._dtypes)
        exact = bool(self._nodata) and (window.height, window.width) == shape
        if floats or exact:
            pixels = self._read_bands(window, shape) if data is None else data
        if exact:
            marked = [value.marks(band) for value, band in zip(self._nodata, pixels, strict=True)]
            self.nodata_found |= any(band.any() for band in marked)
            valid = ~np.all(marked, axis=0)
        else:
            flags = [self._pixels.mask_flag_enums[index - 1] for index in self._indices]
            if any(MaskFlags.all_valid not in flag for flag in flags):
                shared = any(MaskFlags.per_dataset in flag for flag in flags)
                indices = self._indices[:1] if shared else self._indices
                valid = self._pixels.read_masks(indices, window=window, out_shape=(len(indices), *shape)).any(axis=0)
                self.nodata_found |= not valid.all()
        if floats:
            finite = np.isfinite(pixels).all(axis=0)
            valid = finite if valid is None else valid & finite
        return None if valid is None or valid.all() else valid


def _both(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    """Where both masks are set; None stands for all pixels."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def _range_of(ends: Ends, dtypes: Sequence[np.dtype]) -> np.ndarray:
    """(2, bands, 1, 1): the ends in float32 where that holds all numbers between them, else in float64."""
    single = all(np.can_cast(dtype, np.float32) for dtype in dtypes) and np.abs(ends).max() < NO_MEASUREMENT
    return np.array(ends, np.float32 if single else np.float64)[..., None, None]


def _dtype(name: str) -> np.dtype:
    # GDAL has complex numbers that numpy has not.
    return np.dtype(np.complex64) if name.startswith('complex') else np.dtype(name)


def _check_stretch(stretch: tuple[float, float]) -> None:
    listed = isinstance(stretch, Sequence | np.ndarray) and not isinstance(stretch, str) and len(stretch) == 2
    if not (listed and all(isinstance(end, Real) for end in stretch) and 0 <= stretch[0] < stretch[1] <= 100):
        raise ConfigError(f'stretch {stretch!r} must be two percentiles, ascending, within 0 to 100')
