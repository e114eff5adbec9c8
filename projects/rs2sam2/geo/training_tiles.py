"""Training tiles from rasters and described polygons: georeferenced pictures and JSON lines."""

import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import rasterio
import shapely
from affine import Affine
from pyproj import CRS, Transformer
from rasterio.errors import RasterioError
from rasterio.features import rasterize

from rs2sam2.datasets.base import SPLITS
from rs2sam2.datasets.masks import encode_mask
from rs2sam2.datasets.rrsisd_layout import new_folder
from rs2sam2.datasets.splits import DEFAULT_SHARES, check_draw, empty_splits
from rs2sam2.errors import ConfigError, DataError
from rs2sam2.geo.ground import to_crs
from rs2sam2.geo.reader import SceneReader
from rs2sam2.geo.sources import GDAL_ERRORS, gdal_env
from rs2sam2.geo.tile_splits import split_tiles
from rs2sam2.geo.vector_sources import check_encoding, check_vector, encoding_notes, gdal_reason
from rs2sam2.json_text import json_line

NO_TEXT, OUTSIDE, CUT, NO_DATA, BETWEEN, IN_TILE = (
    'without text',
    'outside all rasters',
    'of which every tile shows too little',
    'where the raster has no data, or smaller than a pixel',
    'only in tiles that were left out: their ground is in two splits',
    'in a tile',
)


@dataclass
class TilesReport:
    """What became of the data.

    Attributes:
        tiles: by split.
        sentences: by split.
        features: by what happened to them.
        mended: outlines that crossed themselves.
        left_out: tiles that overlap tiles of two splits.
        notes: what the user should know, one sentence each.
    """

    tiles: Counter = field(default_factory=Counter)
    sentences: Counter = field(default_factory=Counter)
    features: Counter = field(default_factory=Counter)
    mended: int = 0
    left_out: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Features:
    """Polygons with their texts (None where there is none); `geometry` in the CRS of the file."""

    path: str
    ids: np.ndarray
    geometry: np.ndarray
    text: np.ndarray
    category: np.ndarray | None
    crs: CRS


def read_features(
    path: str | os.PathLike,
    text_column: str,
    layer: str | None = None,
    category_column: str | None = None,
    encoding: str | None = None,
) -> tuple[_Features, int, list[str]]:
    """Read the polygons of a GeoPackage, GeoJSON or another vector file.

    Args:
        path: The file.
        text_column: Its column with the sentences.
        layer: Needed where the file has several.
        category_column: Its column with the classes.
        encoding: Of the words of a shapefile that does not say it.

    Returns:
        The features, how many outlines that crossed themselves were mended, and what the user should know.

    Raises:
        DataError: The file cannot be read, has no such layer or column, no CRS, or other geometry than polygons.
        ConfigError: The encoding is none, or the file says its own.
    """
    path = os.fspath(path)
    notes = check_vector(path)
    check_encoding(path, encoding)
    try:
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
        if layer is None and len(layers) > 1:
            raise DataError(f'{path} has the layers {", ".join(layers)}; name one')
        if layer is not None and layer not in layers:
            raise DataError(f'{path} has no layer {layer!r}; there are {", ".join(layers)}')
        columns = [str(name) for name in pyogrio.read_info(path, layer=layer)['fields']]
        for column in (text_column, category_column):
            if column is not None and column not in columns:
                raise DataError(f'{path} has no column {column!r}; there are {", ".join(columns) or "none"}')
        wanted = [text_column] + ([category_column] if category_column else [])
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            meta, ids, geometry, values = pyogrio.raw.read(
                path, layer=layer, columns=wanted, return_fids=True, encoding=encoding
            )
    except UnicodeDecodeError as error:
        raise DataError(
            f'{path}: its words are not {error.encoding} ({error.reason}); name their encoding with --encoding'
        ) from error
    except pyogrio.errors.DataSourceError as error:
        raise DataError(f'{path} cannot be read as a vector file ({gdal_reason(error, path)}); is it whole?') from error
    if meta['crs'] is None:
        raise DataError(f'{path} has no CRS; set it in your GIS')
    if not len(ids):
        raise DataError(f'{path} has no features; draw some, or name another layer')
    with np.errstate(invalid='ignore'):  # of corners that are no finite numbers, which are looked for below
        shapes = shapely.from_wkb(geometry)
    kinds = shapely.get_type_id(shapes)
    other = ~np.isin(kinds, (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    if other.any():
        what = 'none at all' if shapes[other][0] is None else shapes[other][0].geom_type
        raise DataError(
            f'{path}: {other.sum():,} of {len(ids):,} features are no polygons (feature {ids[other][0]} is {what}); '
            'buffer or remove them'
        )
    if (endless := ~np.isfinite(shapely.bounds(shapes)).all(axis=1) & ~shapely.is_empty(shapes)).any():
        raise DataError(f'{path}: feature {ids[endless][0]} has a corner that is no finite number; mend or remove it')
    broken = ~shapely.is_valid(shapes)
    shapes[broken] = shapely.make_valid(shapes[broken])
    by_name = dict(zip(meta['fields'], values, strict=True))
    category = _texts(by_name[category_column]) if category_column else None
    said = _texts(by_name[text_column])
    notes += encoding_notes(path, encoding, said)
    return _Features(path, ids, shapes, said, category, CRS.from_user_input(meta['crs'])), int(broken.sum()), notes


def _texts(values: np.ndarray) -> np.ndarray:
    """A column as texts, None where a value is missing; GDAL hands whole numbers as floats where one of them is."""
    return np.array([_text(value) for value in values], dtype=object)


def _text(value: object) -> str | None:
    if value is None or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        return None
    if isinstance(value, (np.datetime64, np.timedelta64)) and np.isnat(value):
        return None
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    return ' '.join(str(value).split()) or None


def _on_raster(features: _Features, reader: SceneReader, reproject: bool) -> np.ndarray:
    """The polygons in pixels of the reader's grid, x to the right and y downwards."""
    if reader.crs is None:
        raise DataError(f'{reader.path} has no CRS, so polygons have no place on it; georeference it first')
    crs = CRS.from_user_input(reader.crs.to_wkt())
    shapes = features.geometry
    if not crs.equals(features.crs, ignore_axis_order=True):
        if not reproject:
            raise DataError(
                f'{features.path} is in {features.crs.name}, {reader.path} in {crs.name}; convert one of them, or pass '
                '--reproject'
            )
        transformer = Transformer.from_crs(features.crs, crs, always_xy=True)
        shapes = shapely.transform(shapes, lambda xy: np.column_stack(transformer.transform(xy[:, 0], xy[:, 1])))
    inverse = ~reader.transform
    scale = np.array(reader.scale[::-1])
    matrix = np.array([[inverse.a, inverse.b], [inverse.d, inverse.e]])
    return shapely.transform(shapes, lambda xy: (xy @ matrix.T + (inverse.c, inverse.f)) / scale)


def _edges(length: int, tile: int) -> list[tuple[int, int]]:
    """Equal parts of at most `tile` pixels: no slivers at the end."""
    ends = np.rint(np.linspace(0, length, -(-length // tile) + 1)).astype(int).tolist()
    return list(pairwise(ends))


@dataclass(frozen=True)
class _Tile:
    """What is said of a tile, the features that it tells of, and where it lies in the CRS of the features."""

    lines: list[dict]
    features: set[int]
    footprint: shapely.Polygon

    @property
    def image(self) -> str:
        return self.lines[0]['image']


@dataclass(frozen=True)
class _Options:
    tile: int
    min_share: float
    reproject: bool


def _cut(
    reader: SceneReader, features: _Features, stem: str, folder: Path, options: _Options, fate: dict
) -> list[_Tile]:
    """Write the tiles of one raster that show described features."""
    shapes = _on_raster(features, reader, options.reproject)
    height, width = reader.grid_shape
    tree = shapely.STRtree(shapes)
    for index in tree.query(shapely.box(0, 0, width, height), predicate='intersects'):
        fate[index] = max(fate.get(index, OUTSIDE), CUT, key=_ORDER.index)
    tiles = []
    for top, bottom in _edges(height, options.tile):
        for left, right in _edges(width, options.tile):
            frame = shapely.box(left, top, right, bottom)
            shown: dict[str, list[int]] = defaultdict(list)
            for index in sorted(tree.query(frame, predicate='intersects')):
                if features.text[index] is not None:
                    shown[features.text[index]].append(int(index))
            lines, seen = _tile_lines(reader, features, shapes, shown, frame, stem, folder, options, fate)
            if lines:
                tiles.append(_Tile(lines, seen, _footprint(reader, features, frame)))
    return tiles


def _footprint(reader: SceneReader, features: _Features, frame: shapely.Polygon) -> shapely.Polygon:
    """Where a tile lies, in the CRS of the features, less half a pixel: tiles that touch do not overlap."""
    # The sides are curves in another CRS.
    inner = shapely.segmentize(frame.buffer(-0.5, join_style='mitre'), max(1, frame.length / 64))
    transform = reader.transform @ Affine.scale(reader.scale[1], reader.scale[0])
    placed = shapely.transform(inner, lambda xy: np.column_stack(to_crs(transform, xy[:, 0], xy[:, 1])))
    assert reader.crs is not None, 'refused before'
    crs = CRS.from_user_input(reader.crs.to_wkt())
    if crs.equals(features.crs, ignore_axis_order=True):
        return placed
    back = Transformer.from_crs(crs, features.crs, always_xy=True)
    return shapely.transform(placed, lambda xy: np.column_stack(back.transform(xy[:, 0], xy[:, 1])))


def _tile_lines(
    reader: SceneReader,
    features: _Features,
    shapes: np.ndarray,
    shown: dict[str, list[int]],
    frame: shapely.Polygon,
    stem: str,
    folder: Path,
    options: _Options,
    fate: dict,
) -> tuple[list[dict], set[int]]:
    """The lines of one tile, and the features in them; its picture is written when there are any.

    Features with one text make one sentence.
    """
    left, top, right, bottom = (int(value) for value in frame.bounds)
    assert reader.crs is not None, 'refused before'
    pixels = valid = None
    name = f'{stem}_{top}_{left}'
    transform = reader.transform @ Affine.scale(reader.scale[1], reader.scale[0]) @ Affine.translation(left, top)
    lines: list[dict] = []
    told: set[int] = set()
    for text, members in shown.items():
        shares = [shapely.intersection(shapes[m], frame).area / max(shapes[m].area, 1e-12) for m in members]
        if max(shares) < options.min_share:
            continue
        if pixels is None:
            pixels, valid = reader.read(top, left, bottom - top, right - left)
        moved = [shapely.transform(shapes[m], lambda xy: xy - (left, top)) for m in members]
        mask = rasterize(moved, pixels.shape[:2], dtype=np.uint8).astype(bool)
        seen = mask if valid is None else mask & valid
        whole = [m for m, share in zip(members, shares, strict=True) if share >= options.min_share]
        if 2 * seen.sum() <= mask.sum():
            fate.update({m: max(fate[m], NO_DATA, key=_ORDER.index) for m in whole})
            continue
        fate.update(dict.fromkeys(whole, IN_TILE))
        told.update(whole)
        line = dict(id=f'{name}_{len(lines)}', image=f'images/{name}.tif', expression=text, rle=encode_mask(seen))
        if features.category is not None and features.category[whole[0]] is not None:
            line['category'] = features.category[whole[0]]
        place = dict(source=os.path.basename(reader.path), crs=reader.crs.to_string(), transform=list(transform)[:6])
        lines.append(line | dict(geo=place | dict(features=[int(features.ids[m]) for m in members])))
    if pixels is not None and lines:
        _write_picture(folder / f'{name}.tif', pixels, reader, transform)
    return lines, told


# From worst to best: a feature that one raster cuts and another shows is in a tile.
_ORDER = (OUTSIDE, CUT, NO_DATA, IN_TILE)


def _write_picture(path: Path, pixels: np.ndarray, reader: SceneReader, transform: Affine) -> None:
    height, width = pixels.shape[:2]
    profile = dict(
        driver='GTiff', height=height, width=width, count=3, dtype='uint8', crs=reader.crs, transform=transform
    )
    bands = pixels.transpose(2, 0, 1)
    try:
        with rasterio.open(path, 'w', **profile, photometric='RGB', interleave='pixel', compress='deflate') as picture:
            picture.write(bands)
        # On a full disk GDAL may close a file without an error.
        with rasterio.open(path) as picture:
            if not np.array_equal(picture.read(), bands):
                raise RasterioError('it does not read as it was written')
    except GDAL_ERRORS as error:
        text = ' '.join(str(error).split())
        raise DataError(f'{path.name} cannot be written ({text}); is the disk full?') from error


def make_tiles(
    rasters: Sequence[str | os.PathLike],
    vector: str | os.PathLike,
    text_column: str,
    out: str | os.PathLike,
    layer: str | None = None,
    category_column: str | None = None,
    tile: int = 1024,
    min_share: float = 0.5,
    shares: dict[str, float] | None = None,
    reproject: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    encoding: str | None = None,
    **reading: Any,
) -> TilesReport:
    """Cut rasters into tiles with the described polygons as masks, for `JSONLRefSegDataset`; all or nothing.

    Tiles of one raster do not overlap, and tiles of several that show common ground go to one split, so no ground is in
    two (`split_tiles`). A sentence goes with a tile that shows enough of its polygon;
    polygons with the same text in one tile are one sentence that means all of them. Words of position are the user's
    own: "on the left" is rarely true of the tile and the whole raster.

    Args:
        rasters: Files that GDAL reads.
        vector: Polygons in the CRS of the rasters (or `reproject`).
        text_column: Column with the sentences.
        out: Folder to be made: `images/*.tif` (GeoTIFF, 8 bits), `train.jsonl`, `val.jsonl`, `test.jsonl`.
        layer: Of the vector file, where it has several.
        category_column: Column with the classes.
        tile: Longest side of a tile in pixels; a raster is cut into equal parts.
        min_share: Share of a polygon that a tile must show.
        shares: Of the tiles in train, val and test; by default 0.7, 0.1, 0.2. Each that is asked for gets a tile while
            there are tiles; `notes` tell which got none.
        reproject: Bring the polygons to each raster's CRS.
        seed: Of the draw of the splits.
        progress: Is called with (rasters done, rasters in all).
        encoding: Of the words of a shapefile without a .cpg file, such as GBK.
        **reading: Of `SceneReader`: `bands`, `nodata`, `stretch`, `gsd`.

    Returns:
        What was made and what was left out.

    Raises:
        DataError: A file cannot be used, or no tile shows a described feature.
        ConfigError: An argument has no such value.
    """
    shares = shares or DEFAULT_SHARES
    check_draw(shares, seed)
    if tile < 64 or not 0 < min_share <= 1:
        raise ConfigError(f'tile {tile}, min_share {min_share}: use at least 64, and 0 < share <= 1')
    stems = Counter(Path(raster).stem for raster in rasters)
    if not stems or stems.most_common(1)[0][1] > 1:
        what = f'two rasters are called {stems.most_common(1)[0][0]}' if stems else 'no raster is given'
        raise ConfigError(f'{what}; every raster needs a name of its own')
    report = TilesReport()
    features, report.mended, notes = read_features(vector, text_column, layer, category_column, encoding)
    report.notes += notes
    fate: dict[int, str] = {}
    tiles: list[_Tile] = []
    with gdal_env(), new_folder(out) as root:
        (root / 'images').mkdir()
        for done, raster in enumerate(rasters, 1):
            reader = SceneReader(raster, **reading)
            try:
                report.notes += reader.notes
                options = _Options(tile, min_share, reproject)
                tiles += _cut(reader, features, Path(raster).stem, root / 'images', options, fate)
            finally:
                reader.close()
            if progress is not None:
                progress(done, len(rasters))
        splits = split_tiles([tile.image for tile in tiles], [tile.footprint for tile in tiles], shares, seed)
        kept = [tile for tile in tiles if splits[tile.image] is not None]
        for one in tiles:
            if splits[one.image] is None:
                report.left_out += 1
                (root / one.image).unlink()
        told = {index for tile in kept for index in tile.features}
        for index, text in enumerate(features.text):
            what = NO_TEXT if text is None else fate.get(index, OUTSIDE)
            report.features[BETWEEN if what == IN_TILE and index not in told else what] += 1
        if not kept:
            raise DataError(f'no tile shows a described feature of {vector}: {dict(report.features)}')
        for split in SPLITS:
            chosen = [tile for tile in kept if splits[tile.image] == split]
            report.tiles[split], report.sentences[split] = len(chosen), sum(len(tile.lines) for tile in chosen)
            if chosen:
                (root / f'{split}.jsonl').write_bytes(
                    b''.join(json_line(line) for tile in chosen for line in tile.lines)
                )
        report.notes += empty_splits(report.tiles, shares, 'tiles')
    return report
