"""What is known about one expression in one image after segmentation."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F

from rs2sam2.datasets.masks import encode_mask
from rs2sam2.errors import CheckpointError
from rs2sam2.structures import RefSegDataSample

PRESENCE = 'presence'
MEAN_PROBABILITY = 'mean foreground probability'
NOTHING_FOUND = 'no pixel is foreground'


@dataclass(frozen=True, eq=False)
class SegmentationResult:
    """Mask and scores of one expression.

    Attributes:
        expression: the referring expression.
        image: path of the image, or its name.
        mask: (H, W) bool at the image's own size; all False below `min_score`.
        logits: log-odds of foreground on the decoder's grid, (h, w) float32.
        pseudo_mask: the mask prompt generator's coarse mask, (h, w) float32 in [0, 1], or None.
        predicted_iou: SAM2's own estimate of the mask's IoU, or None when it was never trained.
        presence: SAM2's object score as a probability, or None when it was never trained.
        score: whether the target is there, in [0, 1]; 0 where the model found no foreground.
        score_kind: 'presence', or 'mean foreground probability' (over the foreground of `logits`) without one.
        reason: why the mask is empty; None where it is not.
        precision: what the model computed in: 'fp32', 'bf16' or 'fp16'.
        notes: what the user should know about how the image was read and the expression understood.
        averaged_over: symmetries of the copies whose predictions were averaged; the identity alone without
            test-time augmentation.
    """

    expression: str
    image: str
    mask: np.ndarray
    logits: np.ndarray
    pseudo_mask: np.ndarray | None
    predicted_iou: float | None
    presence: float | None
    score: float
    score_kind: str
    reason: str | None
    precision: str = 'fp32'
    notes: tuple[str, ...] = ()
    averaged_over: tuple[str, ...] = ('identity',)

    @classmethod
    def from_data_sample(
        cls, sample: RefSegDataSample, min_score: float | None = None, notes: tuple[str, ...] = ()
    ) -> 'SegmentationResult':
        """Read a prediction; below `min_score` the mask is emptied and the reason says so.

        Raises:
            CheckpointError: the model returned NaN or infinity, which is no mask, not an empty one either.
        """
        logits = sample.seg_logits.data[0].float().cpu().numpy()
        check_finite(logits, sample.presence, sample.pred_iou)
        mask = sample.pred_sem_seg.data[0].bool().cpu().numpy()
        pseudo = sample.get('pseudo_mask')
        presence = sample.presence
        score, kind = score_mask(logits, presence)
        reason = None if mask.any() else NOTHING_FOUND
        if reason is None and min_score is not None and score < min_score:
            reason = f'the score {score:.3f} ({kind}) is below {min_score}'
            mask = np.zeros_like(mask)
        return cls(
            expression=sample.expression,
            image=sample.img_path,
            mask=mask,
            logits=logits,
            pseudo_mask=None if pseudo is None else pseudo.data[0].cpu().numpy(),
            predicted_iou=sample.pred_iou,
            presence=presence,
            score=score,
            score_kind=kind,
            reason=reason,
            precision=sample.precision,
            notes=notes,
            averaged_over=sample.get('averaged_over', ('identity',)),
        )

    @cached_property
    def probability(self) -> np.ndarray:
        """Probability of foreground at the image's own size, (H, W) float32; not touched by `min_score`."""
        return resize_logits(torch.from_numpy(self.logits)[None], self.size)[0].sigmoid().numpy()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.mask.shape

    @property
    def empty(self) -> bool:
        """Whether nothing is segmented; `reason` says why."""
        return self.reason is not None

    @cached_property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(self.mask.sum())

    @cached_property
    def box(self) -> tuple[int, int, int, int] | None:
        """Smallest box (x0, y0, x1, y1) around the mask, in pixel edges: its width is x1 - x0. None when empty."""
        if self.empty:
            return None
        rows, columns = self.mask.any(axis=1).nonzero()[0], self.mask.any(axis=0).nonzero()[0]
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

    @property
    def rle(self) -> dict:
        """The mask as COCO's compressed RLE, with text counts."""
        return encode_mask(self.mask)

    def to_dict(self) -> dict:
        """Plain values, as the command line writes them: COCO's `segmentation`, `bbox` (x, y, w, h) and `area`."""
        x0, y0, x1, y1 = self.box or (0, 0, 0, 0)
        return {
            'image': self.image,
            'expression': self.expression,
            'height': self.size[0],
            'width': self.size[1],
            'segmentation': self.rle,
            'bbox': [x0, y0, x1 - x0, y1 - y0],
            'area': self.area,
            'score': self.score,
            'score_kind': self.score_kind,
            'presence': self.presence,
            'predicted_iou': self.predicted_iou,
            'empty': self.empty,
            'reason': self.reason,
            'precision': self.precision,
            'notes': list(self.notes),
            'averaged_over': list(self.averaged_over),
        }


def check_finite(logits: np.ndarray, *scores: float | None) -> None:
    """Refuse what a model returned if it holds NaN or infinity.

    Raises:
        CheckpointError: it does.
    """
    values = [np.asarray(logits), *(np.asarray(score) for score in scores if score is not None)]
    if not all(np.isfinite(value).all() for value in values):
        raise CheckpointError('the model returned NaN or infinity; check its weights, or compute in fp32')


def score_mask(logits: np.ndarray, presence: float | None) -> tuple[float, str]:
    """Score of a mask and its kind: `presence` where there is one, else the mean probability of the foreground.

    Args:
        logits: log-odds of foreground, (h, w).
        presence: SAM2's object score as a probability, or None.
    """
    foreground = logits[logits > 0]
    kind = MEAN_PROBABILITY if presence is None else PRESENCE
    if not foreground.size:
        return 0.0, kind
    return (float((1 / (1 + np.exp(-foreground))).mean()) if presence is None else presence), kind


def resize_logits(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(B, h, w) log-odds to (B, H, W), bilinear as the model's own masks are."""
    return F.interpolate(logits[:, None], size=tuple(size), mode='bilinear', align_corners=False)[:, 0]
