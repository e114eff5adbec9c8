"""Several results: a list that other tools take as one table."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs2sam2.errors import ConfigError, DataError, OutputError
from rs2sam2.inference.results import SegmentationResult

if TYPE_CHECKING:
    import geopandas

    from rs2sam2.inference.outlines import Ground

COLUMNS = ('image', 'expression', 'score', 'score_kind', 'pixels')


class SegmentationResults(list[SegmentationResult]):
    """A list of results, as an inferencer gives it; its parts and sums are such lists too."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return SegmentationResults(found) if isinstance(place, slice) else found

    def __add__(self, others: Iterable[SegmentationResult]) -> 'SegmentationResults':  # type: ignore[override]
        return SegmentationResults([*self, *others])

    def to_coco(self) -> dict[str, list[dict[str, Any]]]:
        """All results as one COCO data set: `images`, `annotations` and one category, `referent`.

        An annotation is a result: its mask as RLE, and besides COCO's own keys `expression`, `score`, `score_kind` and,
        of an empty one, `reason`. `json.dump` writes it, `pycocotools.coco.COCO` reads it.
        """
        images: dict[str, dict[str, Any]] = {}
        sources: dict[str, Any] = {}
        annotations = []
        for number, result in enumerate(self, 1):
            row = result.to_dict()
            image = images.setdefault(
                result.image,
                dict(id=len(images) + 1, file_name=result.image, height=row['height'], width=row['width']),
            )
            if (image['height'], image['width']) != result.size:
                raise DataError(
                    f'{result.image} has results of different sizes: two images of one name are no data set'
                )
            if not _same(sources.setdefault(result.image, result.source), result.source):
                raise DataError(
                    f'{result.image} is the name of two images in memory, which are no data set: segment them in one '
                    'call, which numbers them, or give paths'
                )
            annotations.append(
                dict(
                    id=number,
                    image_id=image['id'],
                    category_id=1,
                    iscrowd=0,
                    **{key: row[key] for key in ('segmentation', 'bbox', 'area', 'expression', 'score', 'score_kind')},
                    **({'reason': result.reason} if result.empty else {}),
                )
            )
        category = dict(id=1, name='referent', supercategory='object')
        return dict(images=list(images.values()), annotations=annotations, categories=[category])

    def to_geodataframe(self) -> 'geopandas.GeoDataFrame':
        """A row an outlined object: `image`, `expression`, `score`, `score_kind`, `pixels` and its polygon.

        Images with a place on the ground give polygons in their CRS, others in pixels (`SegmentationResult.polygons`).

        Raises:
            ConfigError: geopandas or the extra [geo] is not installed.
            DataError: some images have a place on the ground and some have none, or theirs are in different CRS.
        """
        try:
            import geopandas
        except ModuleNotFoundError as error:
            raise ConfigError('a GeoDataFrame needs geopandas: pip install geopandas') from error
        rows, polygons, crs = self._outlined()
        return geopandas.GeoDataFrame(_columns(rows), geometry=polygons, crs=crs)

    def write_polygons(self, path: str | Path) -> None:
        """Write what `to_geodataframe` has as .gpkg or .geojson; needs the extra [geo], not geopandas.

        Raises:
            ConfigError: the extra [geo] is not installed.
            DataError: see `to_geodataframe`.
            OutputError: it cannot be written.
        """
        rows, polygons, crs = self._outlined()
        import pyogrio
        import shapely

        try:
            pyogrio.raw.write(
                str(path),
                shapely.to_wkb(np.array(polygons, object)),
                list(_columns(rows).values()),
                list(COLUMNS),
                layer='objects',
                driver='GPKG' if Path(path).suffix.lower() == '.gpkg' else 'GeoJSON',
                geometry_type='Polygon',
                # Pixels have none; GDAL's own name for that keeps GIS programs from guessing.
                crs=crs.to_wkt() if crs is not None else 'LOCAL_CS["pixels"]',
            )
        except RuntimeError as error:
            text = ' '.join(str(error).split())[-160:]
            raise OutputError(f'{path} cannot be written ({text})') from error

    def _outlined(self) -> tuple[list[dict[str, Any]], list, Any]:
        """Rows, polygons and CRS of all objects."""
        from rs2sam2.inference.outlines import ground_of, trace

        rows, polygons = [], []
        grounds: dict[str, Ground | None] = {}
        for result in self:
            if result.image not in grounds:
                grounds[result.image] = ground_of(result.source, result.size)
            ground = grounds[result.image]
            for polygon in trace(result.mask):
                values = (result.image, result.expression, result.score, result.score_kind, int(polygon.area))
                rows.append(dict(zip(COLUMNS, values, strict=True)))
                polygons.append(polygon if ground is None else ground.place(polygon))
        known = {None if ground is None else ground.crs.to_wkt(): name for name, ground in grounds.items()}
        if len(known) > 1:
            names = ' and '.join(list(known.values())[:2])
            raise DataError(f'{names} are not in one CRS, or one has none: make a table of each')
        return rows, polygons, next((ground.crs for ground in grounds.values() if ground is not None), None)


_KINDS: dict[str, Any] = {'score': np.float64, 'pixels': np.int64}


def _columns(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Typed, also where there is no row."""
    return {name: np.array([row[name] for row in rows], _KINDS.get(name, object)) for name in COLUMNS}


def _same(first: Any, second: Any) -> bool:
    """Whether two results of one name were given the same image; equal names are the same file."""
    if first is second or isinstance(first, (str, os.PathLike)) or first is None or second is None:
        return True
    return np.array_equal(np.asarray(first), np.asarray(second))
