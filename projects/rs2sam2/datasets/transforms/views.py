"""Makes the views of an image: the one that is segmented, and a second one for a union encoder."""

from mmcv.transforms import BaseTransform

from rs2sam2.datasets.images import square_view
from rs2sam2.errors import ConfigError

_LARGEST = 8192


class ResizeView(BaseTransform):
    """Resize the original image to a square view, aspect ratio not kept.

    PIL's bilinear filter on uint8, which widens with the scale (antialiasing): what torchvision's `Resize` does to a
    PIL image, as in the released preprocessing. The mask is resized from its own size by PIL's NEAREST, as in the
    published metric.

    Changes `img` to (size, size, 3), and `gt_seg_map` to (size, size) where there is one.

    Args:
        size: Side of the view.
        resize_mask: False leaves the mask at its own size, for testing.

    Raises:
        ConfigError: A side is no number of pixels, or so many that a view would fill the memory.
    """

    def __init__(self, size: int, resize_mask: bool = True) -> None:
        self.size = _checked(size)
        self.resize_mask = resize_mask

    def transform(self, results: dict) -> dict:
        """Make the view; see the class."""
        results['img'] = square_view(results['img'], self.size)
        if self.resize_mask and 'gt_seg_map' in results:
            results['gt_seg_map'] = square_view(results['gt_seg_map'], self.size, nearest=True)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size}, resize_mask={self.resize_mask})'


class ResizeTwoViews(ResizeView):
    """`ResizeView` to SAM2's view, and once more from the original to the union encoder's.

    Adds `union_img` (union_size, union_size, 3) to what `ResizeView` does.

    Args:
        size: Side of SAM2's view.
        union_size: Side of the union encoder's view.
        resize_mask: False leaves the mask at its own size, for testing.
    """

    def __init__(self, size: int = 1024, union_size: int = 224, resize_mask: bool = True) -> None:
        super().__init__(size, resize_mask)
        self.union_size = _checked(union_size)

    def transform(self, results: dict) -> dict:
        """Make the views; see the class."""
        results['union_img'] = square_view(results['img'], self.union_size)
        return super().transform(results)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size}, union_size={self.union_size}, resize_mask={self.resize_mask})'


def _checked(side: int) -> int:
    if type(side) is not int or not 1 <= side <= _LARGEST:
        raise ConfigError(f'the side of a view is {side!r}: give 1 to {_LARGEST} pixels')
    return side
