"""Packs the fields of a sample into the model's structures."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import PixelData

from rs2sam2.structures import ReferringSample, RefSegDataSample


class PackRefSegInputs(BaseTransform):
    """Pack a sample.

    Returns `inputs`, a `ReferringSample`, and `data_samples`, a `RefSegDataSample` with the meta of its class and,
    where it was turned, `turned_by` or `turn_refused`; where a mask was loaded, `gt_sem_seg` (1, h, w) uint8.
    """

    def transform(self, results: dict) -> dict:
        """Pack; see the class."""
        sample = RefSegDataSample(
            metainfo=dict(
                sample_id=results['sample_id'],
                img_path=results['img_path'],
                expression=results['expression'],
                category=results.get('category'),
                no_target=results.get('no_target', False),
                ori_shape=results['ori_shape'],
            )
        )
        turning = {key: results[key] for key in ('turned_by', 'turn_refused') if key in results}
        sample.set_metainfo(turning)
        if 'gt_seg_map' in results:
            sample.gt_sem_seg = PixelData(data=torch.from_numpy(results['gt_seg_map'])[None])
        inputs = ReferringSample(
            image=_channels_first(results['img']),
            union_image=_channels_first(results['union_img']) if 'union_img' in results else None,
            token_ids=torch.from_numpy(results['token_ids']),
        )
        return dict(inputs=inputs, data_samples=sample)


def _channels_first(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()
