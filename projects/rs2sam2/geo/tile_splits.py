"""Which split a tile belongs to, so that no ground is in two: rasters of one place may overlap in any way."""

from collections.abc import Sequence

import numpy as np
import shapely

from rs2sam2.datasets.splits import split_images


def split_tiles(
    names: Sequence[str], footprints: Sequence[shapely.Polygon], shares: dict[str, float], seed: int
) -> dict[str, str | None]:
    """Draw the splits of tiles; tiles that show common ground get one split.

    Tiles that overlap none before them are drawn, the others follow those that they overlap. One that would have to
    follow tiles of two splits is left out.

    Args:
        names: of the tiles, in the order of the rasters.
        footprints: where they lie on the ground, all in one CRS, less half a pixel at every side.
        shares: of the splits, counted in drawn tiles.
        seed: of the draw.

    Returns:
        Split by name, None for a tile that is left out.
    """
    overlaps = _overlaps(footprints)
    drawn: dict[int, None] = {}
    for index in range(len(names)):
        if overlaps[index].isdisjoint(drawn):
            drawn[index] = None
    by_name = split_images([names[index] for index in drawn], shares, seed)
    splits: dict[int, str | None] = {index: by_name[names[index]] for index in drawn}
    for index in range(len(names)):
        if index in splits:
            continue
        around = {splits[other] for other in overlaps[index] if splits.get(other)}
        splits[index] = around.pop() if len(around) == 1 else None
    return {names[index]: split for index, split in splits.items()}


def _overlaps(footprints: Sequence[shapely.Polygon]) -> list[set[int]]:
    placed = np.array(footprints, dtype=object)
    found: list[set[int]] = [set() for _ in footprints]
    for one, other in shapely.STRtree(placed).query(placed, predicate='intersects').T.tolist():
        if one != other:
            found[one].add(other)
    return found
