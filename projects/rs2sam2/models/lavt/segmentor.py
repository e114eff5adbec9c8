"""LAVT as an mmseg segmentor: read, look while reading, decode (CVPR 2022, https://arxiv.org/abs/2112.02244)."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, stack

from rs2sam2.models.common.losses import LossInputs
from rs2sam2.models.common.precision import no_autocast
from rs2sam2.models.protocol import InputSpec, ReferringSegmentor
from rs2sam2.structures import MaskPrediction, PointPrompts, ReferringBatch, RefSegDataSample, TextState


class LAVT(ReferringSegmentor):
    """Segment what a referring expression means.

    Args:
        text_encoder: config of a module with a width `dim`, called with (token ids, text mask).
        backbone: config of the image encoder, called with (image, text); its `channels` size what follows.
        decode_head: config of the head, called with the backbone's maps; its `losses` are configs too.
        image_size: side of the view that the model is used with.
        data_preprocessor: config of the preprocessor.
        test_cfg: see `ReferringSegmentor`.
        init_cfg: mmengine's initialisation config.
    """

    shard_units: ClassVar[tuple[str, ...]] = (
        r'text_encoder\.bert\.encoder\.layer\.\d+',
        r'backbone\.stages\.\d+\.(blocks\.\d+|fusion)',
        r'decode_head\.levels\.\d+',
    )

    def __init__(
        self,
        text_encoder: dict,
        backbone: dict,
        decode_head: dict,
        image_size: int = 480,
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, test_cfg, init_cfg)
        self.image_size = image_size
        self.text_encoder = MODELS.build(text_encoder)
        self.backbone = MODELS.build(backbone, default_args=dict(text_dim=self.text_encoder.dim))
        head = dict(decode_head)
        head['losses'] = [MODELS.build(loss) for loss in head.get('losses') or ()]
        self.decode_head = MODELS.build(head, default_args=dict(in_channels=self.backbone.channels))

    @property
    def input_spec(self) -> InputSpec:
        """Sizes of what the model takes."""
        encoder = self.text_encoder
        return InputSpec(self.image_size, None, encoder.vocab_size, encoder.max_text_length)

    def extract_feat(self, inputs: ReferringBatch) -> tuple[Tensor, ...]:
        """Encode the text, then the image while reading it: maps at strides 4, 8, 16 and 32."""
        text = TextState(self.text_encoder(inputs.token_ids, inputs.text_mask), inputs.text_mask)
        return self.backbone(inputs.image, text)

    def encode_decode(
        self,
        inputs: ReferringBatch,
        batch_data_samples: list[RefSegDataSample] | None = None,
        points: PointPrompts | None = None,
    ) -> MaskPrediction:
        """Encode and decode; log-odds at the view's size. The model takes no points."""
        logits = self.decode_head(self.extract_feat(inputs))
        # Never less than fp32: what is interpolated here is what is decided on.
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        logits = F.interpolate(logits, size=inputs.image.shape[-2:], mode='bilinear', align_corners=True)
        return MaskPrediction(logits[:, 1:] - logits[:, :1])

    def loss(self, inputs: ReferringBatch, data_samples: list[RefSegDataSample]) -> dict[str, Tensor]:
        """Losses of a batch, by name; the ground truth must be at the view's size."""
        logits = self.encode_decode(inputs).mask_logits
        target = stack([sample.gt_sem_seg.data for sample in data_samples]).to(logits)
        with no_autocast(logits.device):
            return {name: loss(LossInputs(logits, target)) for name, loss in self.decode_head.losses.items()}
