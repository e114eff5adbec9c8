"""Loads a sample's image and mask at their own sizes."""

from mmcv.transforms import BaseTransform

from rs2sam2.datasets.images import read_image
from rs2sam2.datasets.mask_pictures import read_mask
from rs2sam2.datasets.masks import decode_segmentation


class LoadRGBImage(BaseTransform):
    """Load `img_path` as RGB.

    Palette and grey images become RGB, an alpha channel is dropped, an EXIF orientation is applied; more than 8 bits a
    channel is an error.

    Adds `img` (H, W, 3) uint8 RGB and `ori_shape` (H, W).

    Raises:
        DataError: The file cannot be read whole.
    """

    def transform(self, results: dict) -> dict:
        """Load the image; see the class."""
        results['img'] = read_image(results['img_path'], 'RGB')
        results['ori_shape'] = results['img'].shape[:2]
        return results


class LoadReferringMask(BaseTransform):
    """Load the mask at its own size, which may differ from the image's.

    It comes from `segmentation` (with `mask_size` for polygons, the image's size where that is None), or from the
    picture `seg_map_path`, foreground where it is brighter than `seg_threshold` (0: where `read_mask` finds an object).

    Adds `gt_seg_map` (h, w) uint8, 1 on the referent.

    Raises:
        DataError: The mask cannot be decoded.
    """

    def transform(self, results: dict) -> dict:
        """Load the mask; see the class."""
        if 'segmentation' in results:
            size = results.get('mask_size') or results['ori_shape']
            name = results.get('where') or f'sample {results["sample_id"]}'
            mask = decode_segmentation(results['segmentation'], size, name)
        else:
            mask = read_mask(results['seg_map_path'], results['seg_threshold'])
        results['gt_seg_map'] = mask
        return results
