"""RMSIN as an mmseg segmentor (CVPR 2024, https://arxiv.org/abs/2312.12470).

LAVT with three more parts: a branch in each stage of the backbone (`visual_branch`), the neck, and rotated convolutions
in the head (`refine_cfg`).
"""

from mmseg.registry import MODELS
from torch import Tensor

from rs2sam2.models.lavt.segmentor import LAVT
from rs2sam2.models.protocol import Stage
from rs2sam2.structures import ReferringBatch


class RMSIN(LAVT):
    """Segment what a referring expression means.

    Args:
        neck: config of what lets the backbone's maps talk; it returns maps of the same shapes.
        **kwargs: those of `LAVT`; the neck is built for `image_size`, and so are its weights.
    """

    def __init__(self, neck: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        sizes = dict(in_channels=self.backbone.channels, image_size=self.image_size)
        self.neck = MODELS.build(neck, default_args=sizes)

    def extract_feat(self, inputs: ReferringBatch) -> tuple[Tensor, ...]:
        """Encode the text, then the image while reading it, and join the scales: maps at strides 4, 8, 16 and 32."""
        return self.neck(super().extract_feat(inputs))

    def stages(self) -> tuple[Stage, ...]:
        """Parts of the forward pass in order of use."""
        names = ('text_encoder', 'backbone', 'neck', 'decode_head')
        return tuple(Stage(name, (getattr(self, name),)) for name in names)
