"""Clicks and boxes in pixels of the original image, as SAM2 takes them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rs2sam2.errors import DataError
from rs2sam2.inference.arguments import Box, Points, is_number
from rs2sam2.symmetry import SYMMETRIES

if TYPE_CHECKING:
    from rs2sam2.structures import PointPrompts

BESIDE, ON, UPPER_LEFT, LOWER_RIGHT = range(4)
"""SAM2's labels of points."""


def point_prompts(
    box: Box | None, point: Points | None, image_size: tuple[int, int], view_size: tuple[int, int]
) -> 'PointPrompts | None':
    """Check clicks and a box and scale them to SAM2's view.

    Args:
        box: (x0, y0, x1, y1) in pixels of the original image.
        point: (x, y), or several (x, y) and (x, y, 1 on or 0 beside the target).
        image_size: (H, W) of the original image.
        view_size: (H, W) of SAM2's view.

    Returns:
        Prompts for a batch of one; None without a click and a box.

    Raises:
        DataError: they do not lie in the image, or are none.
    """
    corners = [] if box is None else _corners(box, image_size)
    clicks = [] if point is None else [_click(one, image_size) for one in _listed(point)]
    points = corners + clicks
    if not points:
        return None
    import torch

    from rs2sam2.structures import PointPrompts

    coords = torch.tensor([(x, y) for x, y, _ in points], dtype=torch.float32)
    scale = torch.tensor([view_size[1] / image_size[1], view_size[0] / image_size[0]])
    labels = torch.tensor([label for _, _, label in points], dtype=torch.int32)
    return PointPrompts((coords * scale)[None], labels[None])


def turn_prompts(points: 'PointPrompts | None', element: str, view_size: tuple[int, int]) -> 'PointPrompts | None':
    """Prompts in the view of a turned image: where its pixels went.

    Args:
        points: prompts in the view of the image.
        element: name of the symmetry.
        view_size: (H, W) of SAM2's view of the image.
    """
    symmetry = SYMMETRIES[element]
    if points is None or symmetry.name == 'identity':
        return points
    import torch

    # SAM2 takes (x, y) for the middle of a pixel.
    turned = [[symmetry.point(x + 0.5, y + 0.5, *view_size) for x, y in one] for one in points.coords.tolist()]
    coords = torch.tensor(turned) - 0.5
    corners = points.labels[0] >= UPPER_LEFT
    # The corner that was upper left may be another one now.
    box = coords[:, corners]
    coords[:, corners] = box.sort(dim=1).values
    return points._replace(coords=coords)


def _listed(point: Points) -> list:
    """One point, or a list of them, as a list."""
    rows = _plain(point)
    several = isinstance(rows, list) and all(isinstance(_plain(row), list) for row in rows)
    return rows if several else [rows]


def _plain(value: Any) -> Any:
    """Arrays, tensors and tuples as lists; everything else as it is."""
    if hasattr(value, 'tolist'):
        return value.tolist()
    return list(value) if isinstance(value, (tuple, list)) else value


def _are_numbers(value: Any, counts: tuple[int, ...]) -> bool:
    return isinstance(value, list) and len(value) in counts and all(map(is_number, value))


def _corners(box: Box, size: tuple[int, int]) -> list[tuple[float, float, int]]:
    height, width = size
    box = _plain(box)
    if not _are_numbers(box, (4,)) or not (0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height):
        raise DataError(f'box={box!r} is not x0, y0, x1, y1 inside the image of {width}x{height}')
    return [(float(box[0]), float(box[1]), UPPER_LEFT), (float(box[2]), float(box[3]), LOWER_RIGHT)]


def _click(point: Sequence[float], size: tuple[int, int]) -> tuple[float, float, int]:
    height, width = size
    point = _plain(point)
    is_point = _are_numbers(point, (2, 3)) and 0 <= point[0] < width and 0 <= point[1] < height
    label = point[2] if is_point and len(point) == 3 else ON
    if not is_point or label not in (BESIDE, ON):
        raise DataError(
            f'point={point!r} is not x, y (and 1 on the target, 0 beside it) inside the image of {width}x{height}'
        )
    return float(point[0]), float(point[1]), int(label)
