"""What every model of this project offers to training, testing, inference, folding, measuring and drawing.

Nothing above this room asks a model for its parts: what differs between models is said here, by the model.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from torch import Tensor, nn

from rs2sam2.models.common.precision import autocast, choose_precision
from rs2sam2.structures import MaskPrediction, PointPrompts, ReferringBatch, RefSegDataSample


class InputSpec(NamedTuple):
    """What a model takes.

    Attributes:
        image_size: side S of the view that is segmented, in pixels.
        union_size: side s of the union encoder's view, in pixels; None for a model of one view.
        vocab_size: rows of the token table.
        max_text_length: longest expression, in tokens.
    """

    image_size: int
    union_size: int | None
    vocab_size: int
    max_text_length: int


class Stage(NamedTuple):
    """A part of the forward pass, for tables of time and operations.

    Attributes:
        name: what the table says.
        modules: what it calls.
        inside: name of the stage within which these are called and whose share they are not to be counted in.
    """

    name: str
    modules: tuple[nn.Module, ...]
    inside: str | None = None


class ReferringSegmentor(BaseSegmentor):
    """Base of a model that segments what an expression means in an image.

    A new model writes `input_spec`, `encode_decode` and `loss`. The rest has a default that suits a model without
    points, scores and foldable parts.

    Args:
        data_preprocessor: config of the preprocessor; its `pad(expressions, data_samples)` refuses what is too long.
        test_cfg: `precision` of inference, 'auto' (default), 'fp32', 'bf16' or 'fp16': see `choose_precision`.
        init_cfg: mmengine's initialisation config.

    Attributes:
        precision: what `test_cfg` says; the inferencer's `precision` replaces it.
    """

    shard_units: ClassVar[tuple[str, ...]] = ()
    """Regular expressions of the modules that sharded training gathers one by one; each is called as a module."""

    def __init__(
        self,
        data_preprocessor: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        # mmengine would look the preprocessor up in its own registry where no default scope is set.
        data_preprocessor = MODELS.build(data_preprocessor) if data_preprocessor else None
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.precision = (test_cfg or {}).get('precision', 'auto')
        choose_precision(self.precision, torch.device('cpu'))

    @property
    def input_spec(self) -> InputSpec:
        """Sizes of what the model takes."""
        raise NotImplementedError

    @property
    def takes_points(self) -> bool:
        """Whether clicks and boxes refine the expression."""
        return False

    def encode_decode(
        self,
        inputs: ReferringBatch,
        batch_data_samples: list[RefSegDataSample] | None = None,
        points: PointPrompts | None = None,
    ) -> MaskPrediction:
        """The forward pass; the data samples are not read, `points` are given only where `takes_points`."""
        raise NotImplementedError

    def scores(self, prediction: MaskPrediction) -> tuple[Sequence[float] | None, Sequence[float] | None]:
        """Predicted IoU and presence of each sample, in [0, 1]; None where the model has not learned them."""
        return None, None

    def predict(
        self,
        inputs: ReferringBatch,
        data_samples: list[RefSegDataSample] | None = None,
        points: PointPrompts | None = None,
    ) -> list[RefSegDataSample]:
        """Predict a batch: each sample gets `seg_logits`, `pred_sem_seg`, `pseudo_mask`, `pred_iou`, `presence`.

        The model computes in its `precision`, which each sample's meta then names.

        Args:
            inputs: the batch.
            data_samples: where the predictions go; new ones where None.
            points: clicks and boxes that refine the text; the same number for every sample.
        """
        device = inputs.image.device
        precision = choose_precision(self.precision, device)
        with autocast(precision, device):
            prediction = self.encode_decode(inputs, points=points)
        data_samples = data_samples or [RefSegDataSample() for _ in inputs.image]
        ious, presences = self.scores(prediction)
        for i, sample in enumerate(data_samples):
            sample.set_metainfo(dict(precision=precision))
            logits = prediction.mask_logits[i : i + 1].float()
            size = sample.get('ori_shape', inputs.image.shape[-2:])
            mask = F.interpolate(logits, size=tuple(size), mode='bilinear', align_corners=False)[0] > 0
            sample.seg_logits = PixelData(data=logits[0])
            sample.pred_sem_seg = PixelData(data=mask.byte())
            if prediction.pseudo_mask is not None:
                sample.pseudo_mask = PixelData(data=prediction.pseudo_mask[i].float())
            sample.set_field(None if ious is None else ious[i], 'pred_iou')
            sample.set_field(None if presences is None else presences[i], 'presence')
        return data_samples

    def loss(self, inputs: ReferringBatch, data_samples: list[RefSegDataSample]) -> dict[str, Tensor]:
        """Losses of a batch, by name; the ground truth is at the view's size."""
        raise NotImplementedError

    def lay_out(self) -> None:
        """Before the weights are filled: put those beside each other in memory that `fold` joins. Optional."""

    def fold(self) -> 'ReferringSegmentor':
        """Make an inference model of this one, in place: eval mode, no gradients, what can be merged is merged.

        The same numbers come out. The state dict may no longer fit the architecture; then asking for it is refused.
        """
        return self.eval().requires_grad_(False)

    def stages(self) -> tuple[Stage, ...]:
        """Parts of the forward pass in order of use."""
        return tuple(Stage(name, (module,)) for name, module in self.named_children() if name != 'data_preprocessor')

    def extract_feat(self, inputs: ReferringBatch) -> object:
        """mmseg's name for the encoding half of the forward pass; what it returns is the model's own."""
        raise NotImplementedError

    def _forward(self, inputs: ReferringBatch, data_samples: list[RefSegDataSample] | None = None) -> MaskPrediction:
        """mmengine's `tensor` mode."""
        return self.encode_decode(inputs)
