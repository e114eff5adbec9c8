"""RS2-SAM2: referring remote-sensing image segmentation as an mmsegmentation extension.

Importing registers the components in mmseg's registries and does nothing else. Without torch there is nothing to
register: what is left runs exported models.
"""

import contextlib
import os
import warnings
from importlib.util import find_spec

from rs2sam2.collecting import without_collecting
from rs2sam2.not_now import not_now

if find_spec('torch') is not None:
    # mmseg and mmcv announce on the screen which optional packages are not there; nothing here needs them. And mmengine
    # imports transformers, with peft where that is installed, to register one optimizer: see engine/adafactor.py.
    with (
        open(os.devnull, 'w') as _nowhere,
        contextlib.redirect_stdout(_nowhere),
        warnings.catch_warnings(),
        not_now('transformers'),
        without_collecting(),
    ):
        warnings.filterwarnings('ignore', 'Fail to import ``MultiScaleDeformableAttention``')
        from rs2sam2 import registration, registry

__all__ = ['RS2SAM2Inferencer', 'RefSegInferencer', '__version__', 'registration', 'registry']
__version__ = '0.1.0'


def __getattr__(name: str) -> object:
    # Training needs nothing of inference, so it is imported when first asked for.
    # It runs every referring segmentor; the second name is its first one.
    if name in ('RefSegInferencer', 'RS2SAM2Inferencer'):
        from rs2sam2.inference import RefSegInferencer

        return RefSegInferencer
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
