"""Typed structures between the stages; `docs/design.md` shows which stage returns which.

B batch, L text tokens, S side of SAM2's view, D width of the union encoder, C width of SAM2's decoder (256).
"""

from typing import NamedTuple

from mmseg.structures import SegDataSample
from torch import Tensor


class ReferringSample(NamedTuple):
    """What the transforms hand over for one sentence, on the CPU; collated, every field is a list.

    Attributes:
        image: the view that is segmented, (3, S, S) uint8 RGB.
        union_image: the union encoder's view, (3, s, s) uint8 RGB; None for a model of one view.
        token_ids: ids of the expression with `<s>` and `</s>`, (L,) int64, not padded.
    """

    image: Tensor
    union_image: Tensor | None
    token_ids: Tensor


class ReferringBatch(NamedTuple):
    """What the preprocessor hands to the model.

    Attributes:
        image: normalised view that is segmented, (B, 3, S, S).
        union_image: normalised view of the union encoder, (B, 3, s, s); None for a model of one view.
        token_ids: padded token ids, (B, L) int64.
        text_mask: True where a token counts, (B, L) bool.
    """

    image: Tensor
    union_image: Tensor | None
    token_ids: Tensor
    text_mask: Tensor


class UnionFeatures(NamedTuple):
    """Output of a union encoder: cls (B, 1, D), patches (B, N, D) row by row, text (B, L, D)."""

    cls: Tensor
    patches: Tensor
    text: Tensor


class TextState(NamedTuple):
    """Text as fusion, head and loss read it: tokens (B, L, C), mask (B, L) bool, True = a token that counts."""

    tokens: Tensor
    mask: Tensor


class PointPrompts(NamedTuple):
    """Clicks and boxes that refine the text, in SAM2's own form.

    Attributes:
        coords: (B, n, 2), x and y in pixels of SAM2's view.
        labels: (B, n) int, 1 on the target, 0 beside it, 2 and 3 the upper left and lower right corner of a box.
    """

    coords: Tensor
    labels: Tensor


class Prompts(NamedTuple):
    """Prompts for SAM2.

    Attributes:
        sparse: the text's prompt, (B, n, C).
        pseudo_mask: (B, 1, h, w) probabilities, None without a generator.
        points: clicks and boxes beside the text, or None.
    """

    sparse: Tensor
    pseudo_mask: Tensor | None
    points: PointPrompts | None = None


class MaskPrediction(NamedTuple):
    """Output of a model.

    Attributes:
        mask_logits: log-odds of foreground, (B, 1, h, w): S/4 in RS2-SAM2, S in LAVT and RMSIN.
        iou: SAM2's IoU prediction in [0, 1], (B,); None where a model has no such head.
        presence_logits: SAM2's object score, a logit, (B,); None likewise.
        pseudo_mask: the generator's mask, (B, 1, h, w) probabilities, or None.
    """

    mask_logits: Tensor
    iou: Tensor | None = None
    presence_logits: Tensor | None = None
    pseudo_mask: Tensor | None = None


class RefSegDataSample(SegDataSample):
    """A sentence, its mask and what was predicted for it.

    mmseg's `SegDataSample` (`gt_sem_seg`, `seg_logits`, `pred_sem_seg`), plus `pseudo_mask` (PixelData) and the scalars
    `pred_iou` and `presence`, which are None when their head was never trained. Meta: `sample_id`, `img_path`,
    `expression`, `category`, `no_target`, `ori_shape`; of a prediction also `precision`.
    """
