"""PIL's NEAREST resizing of masks, on whatever device they are."""

from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@lru_cache(maxsize=512)
def pil_nearest_index(source: int, target: int) -> Tensor:
    """Which of `source` pixels PIL's NEAREST takes for each of `target` pixels.

    PIL adds up the step in double precision, torch's `nearest-exact` multiplies it in single precision. Where a sample
    point falls on the border of two pixels they may pick different ones: never at 1024, but in 28 of 480 for a source
    of 512. So PIL itself is asked.

    Args:
        source: number of pixels along one axis.
        target: number of pixels wanted.

    Returns:
        (target,) int64 indices on the CPU.
    """
    ramp = Image.fromarray(np.arange(source, dtype=np.int32)[None])
    picked = np.asarray(ramp.resize((target, 1), Image.Resampling.NEAREST))[0]
    return torch.from_numpy(picked.astype(np.int64))


def resize_nearest(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize as `PIL.Image.resize(..., NEAREST)` does, pixel for pixel.

    Args:
        mask: (h, w), any type and device.
        size: (H, W) wanted.

    Returns:
        (H, W), same type and device.
    """
    if tuple(mask.shape) == tuple(size):
        return mask
    rows = pil_nearest_index(mask.shape[0], size[0]).to(mask.device)
    columns = pil_nearest_index(mask.shape[1], size[1]).to(mask.device)
    return mask[rows[:, None], columns]
