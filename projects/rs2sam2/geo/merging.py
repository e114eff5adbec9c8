"""The polygons of many scenes in one file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError
from rasterio.crs import CRS

from rs2sam2.errors import DataError
from rs2sam2.geo.outputs import StagedFiles
from rs2sam2.geo.vector_formats import LAYER, VectorFile, open_vector, vector_driver

_BATCH = 5000


class Layer(NamedTuple):
    """What was written.

    Attributes:
        path: of the file.
        name: of the layer.
        crs: of all its polygons, as people write it; None: they are in pixels, or nobody knows.
        polygons: how many.
    """

    path: Path
    name: str
    crs: str | None
    polygons: int


def merge_polygons(parts: Sequence[Path], path: Path) -> list[Layer]:
    """Write the polygons of many scenes into one file: each CRS is a layer, where there are several.

    Nothing is reprojected, so that every polygon lies on its scene to the pixel. A format without layers gets a file a
    CRS. `id` counts within the layer.

    Args:
        parts: files of the polygons of a scene each, in order.
        path: of the file to write; the suffix says the format.

    Raises:
        DataError: a part cannot be read, or the file not be written.
    """
    groups: dict[str | None, list[Path]] = {}
    for part in parts:
        with _reading(part):
            crs = pyogrio.read_info(str(part), layer=LAYER)['crs']
        groups.setdefault(crs, []).append(part)
    if not groups:
        return []
    several = len(groups) > 1
    layered = vector_driver(path) == 'GPKG'
    layers, files = [], {}
    for number, crs in enumerate(sorted(groups, key=str), 1):
        name = f'objects_{_short(crs, number)}' if several else LAYER
        file = path.with_name(f'{path.stem}_{_short(crs, number)}{path.suffix}') if several and not layered else path
        files[crs] = name, file
    with StagedFiles(dict.fromkeys(file for _, file in files.values())) as staged:
        for crs, (name, file) in files.items():
            count = _write(groups[crs], staged.staged(file), name, crs)
            layers.append(Layer(file, name, _readable(crs), count))
    return layers


def _write(parts: Sequence[Path], path: Path, layer: str, crs: str | None) -> int:
    count, waiting = 0, []
    writer: VectorFile | None = None
    for part in parts:
        for fields, outlines in _batches(part):
            fields['id'] = np.arange(count + 1, count + len(outlines) + 1)
            count += len(outlines)
            if writer is None:
                writer = open_vector(path, None if crs is None else CRS.from_user_input(crs), list(fields), layer)
            waiting.append((outlines, *fields.values()))
            # What is read back is compared by full batches.
            while writer.batched and sum(len(one[0]) for one in waiting) >= _BATCH:
                table = _joined(waiting)
                writer.write(table[0][:_BATCH], [column[:_BATCH] for column in table[1:]])
                waiting = [tuple(column[_BATCH:] for column in table)]
    assert writer is not None, 'every part has a batch'
    outlines, *columns = _joined(waiting)
    if len(outlines) or count < _BATCH or not writer.batched:
        writer.write(outlines, columns)
    writer.close(count)
    return count


def _joined(tables: list[tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    return [np.concatenate(columns) for columns in zip(*tables, strict=True)]


def _batches(path: Path) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """(columns by name, outlines) of a scene; one batch at least, which has the names."""
    first = 0
    while True:
        with _reading(path):
            meta, _, outlines, columns = pyogrio.raw.read(
                str(path), layer=LAYER, skip_features=first, max_features=_BATCH
            )
        if len(outlines) or not first:
            yield dict(zip(meta['fields'], columns, strict=True)), outlines
        first += len(outlines)
        if len(outlines) < _BATCH:
            return


@contextmanager
def _reading(part: Path) -> Iterator[None]:
    try:
        yield
    except (DataSourceError, DataLayerError, FeatureError) as error:
        raise DataError(
            f'{part}, polygons of a scene that was finished, cannot be read any more ({error}): remove it, and the '
            'same command makes it anew'
        ) from error


def _short(crs: str | None, number: int) -> str:
    readable = _readable(crs)
    if readable is None:
        return 'no_crs'
    return readable.lower().replace(':', '_') if ':' in readable and ' ' not in readable else f'crs{number}'


def _readable(crs: str | None) -> str | None:
    if crs is None:
        return None
    known = CRS.from_user_input(crs)
    authority = known.to_authority()
    return ':'.join(authority) if authority else 'a CRS without a code'
