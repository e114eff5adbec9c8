"""What is known about one expression in one image after segmentation."""

import io
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from rs2sam2.datasets.masks import encode_mask
from rs2sam2.errors import CheckpointError, DataError
from rs2sam2.inference.images import ImageSource, load_image
from rs2sam2.inference.prediction import Prediction, resize_logits
from rs2sam2.terminal import plain
from rs2sam2.visualization.overlay import OVERLAY_SIDE, draw_overlay

if TYPE_CHECKING:
    import shapely

PRESENCE = 'presence'
MEAN_PROBABILITY = 'mean foreground probability'
NOTHING_FOUND = 'no pixel is foreground'
NOTEBOOK_SIDE = 800


@dataclass(frozen=True, eq=False, repr=False)
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
        source: what the user gave as the image, from which pictures are drawn; None where nobody said.
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
    source: ImageSource | None = field(default=None, compare=False)

    @classmethod
    def from_prediction(
        cls,
        prediction: Prediction,
        min_score: float | None = None,
        notes: tuple[str, ...] = (),
        source: ImageSource | None = None,
    ) -> 'SegmentationResult':
        """Read a prediction; below `min_score` the mask is emptied and the reason says so.

        Raises:
            CheckpointError: the model returned NaN or infinity, which is no mask, not an empty one either.
        """
        logits, mask = prediction.logits, prediction.mask
        check_finite(logits, prediction.presence, prediction.predicted_iou)
        score, kind = score_mask(logits, prediction.presence)
        reason = None if mask.any() else NOTHING_FOUND
        if reason is None and min_score is not None and score < min_score:
            reason = f'the score {score:.3f} ({kind}) is below {min_score}'
            mask = np.zeros_like(mask)
        return cls(
            expression=prediction.expression,
            image=prediction.image,
            mask=mask,
            logits=logits,
            pseudo_mask=prediction.pseudo_mask,
            predicted_iou=prediction.predicted_iou,
            presence=prediction.presence,
            score=score,
            score_kind=kind,
            reason=reason,
            precision=prediction.precision,
            notes=notes,
            averaged_over=prediction.averaged_over,
            source=source,
        )

    @cached_property
    def probability(self) -> np.ndarray:
        """Probability of foreground at the image's own size, (H, W) float32; not touched by `min_score`."""
        return sigmoid(resize_logits(self.logits, self.size))

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
        rows, columns = (np.flatnonzero(self.mask.any(axis=axis)) for axis in (1, 0))
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

    def polygons(self) -> 'list[shapely.Polygon]':
        """Outlines of the mask's connected parts, the largest first, holes kept, in pixels of the image.

        They follow the pixels' edges: their areas are numbers of pixels. x goes to the right and y down, and (0, 0) is
        the image's upper left corner. `SegmentationResults.to_geodataframe` puts them on the ground.

        Raises:
            ConfigError: the extra [geo] is not installed.
        """
        from rs2sam2.inference.outlines import trace

        return trace(self.mask)

    def overlay(self, side: int = OVERLAY_SIDE) -> Image.Image:
        """The mask tinted and outlined over its image.

        Args:
            side: longest side of the picture, in pixels; a smaller image keeps its size.

        Raises:
            DataError: the image cannot be read any more, or has another size by now.
        """
        if self.source is None:
            raise DataError(
                f'the pixels of {self.image} are not known here: draw_overlay(image, result.mask) draws them'
            )
        pixels = load_image(self.source, self.image).pixels
        if pixels.shape[:2] != self.size:
            raise DataError(f'{self.image} has another size than when it was segmented: segment it again')
        return Image.fromarray(draw_overlay(pixels, self.mask, side))

    def save(self, path: str | Path) -> Path:
        """Write the result; the suffix says what of it.

        .png and .tif hold the mask (255 on the target), .jpg and .webp the overlay, .json holds `to_dict`, .geojson and
        .gpkg the polygons (extra [geo]). Where the image has a place on the ground, .tif, .geojson and .gpkg have it
        too. The file is written whole or not at all.

        Returns:
            The path.

        Raises:
            ConfigError: there is no such suffix, or the path is no place for a file.
            OutputError: it cannot be written.
        """
        from rs2sam2.inference.saving import save_result

        return save_result(self, Path(path))

    def show(self) -> None:
        """Show the overlay: below the cell in a notebook, in a window of the system's viewer elsewhere."""
        picture = self.overlay()
        if in_notebook():
            from IPython.display import display

            display(picture)
        else:
            picture.show(f'{self.expression} - {self.image}')

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows for a result; None where the image is not at hand any more."""
        try:
            picture = self.overlay(NOTEBOOK_SIDE)
        except DataError:
            return None
        file = io.BytesIO()
        # 256 colours: a third of the bytes, which a notebook keeps of every result.
        picture.quantize(256).save(file, 'PNG', optimize=True)
        return file.getvalue()

    def __repr__(self) -> str:
        found = self.reason if self.empty else f'{self.area:,} of {self.mask.size:,} pixels'
        return f'<{cut(self.expression)!r} in {plain(self.image)}: {found}, score {self.score:.2f}>'


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
    return (float(sigmoid(foreground).mean()) if presence is None else presence), kind


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of log-odds, without overflow."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, small) / (1 + small)


def cut(text: str, length: int = 60) -> str:
    """The beginning of a long text."""
    return text if len(text) <= length else text[:length] + '…'


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this."""
    try:
        from IPython import get_ipython
    except ModuleNotFoundError:
        return False
    shell = get_ipython()
    return shell is not None and hasattr(shell, 'kernel')
