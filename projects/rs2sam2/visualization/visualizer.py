"""The visualizer of referring segmentation: draws a data sample as one figure."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmengine.visualization import Visualizer
from PIL import Image
from torch.nn import functional as F

from rs2sam2.errors import DataError
from rs2sam2.structures import RefSegDataSample
from rs2sam2.terminal import plain
from rs2sam2.visualization.figure import build_panels, draw_figure
from rs2sam2.visualization.text import can_draw


class RefSegVisualizer(Visualizer):
    """Draws the expression above image, ground truth, pseudo-mask and prediction; what a sample lacks is left out.

    The prediction is compared with the ground truth at the ground truth's own size, so its IoU can differ in the last
    digit from the metric of another protocol.

    Args:
        name: of the instance, unique in the process.
        vis_backends: configs of mmengine's vis backends (files, TensorBoard ...).
        save_dir: folder of the vis backends, and of the pictures where `--show-dir` sets it.
    """

    def __init__(self, name: str = 'visualizer', vis_backends: list | None = None, save_dir: str | None = None):
        super().__init__(name, vis_backends=vis_backends, save_dir=save_dir)
        self.save_dir = save_dir

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: RefSegDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0.0,
        out_file: str | None = None,
        step: int = 0,
    ) -> None:
        """Draw one sample, then show it, write it to `out_file`, or else hand it to the vis backends.

        Args:
            name: of the picture.
            image: (H, W, 3) uint8 RGB.
            data_sample: what is known and was predicted; its `expression` is the title.
            draw_gt: draw the ground truth.
            draw_pred: draw pseudo-mask and prediction.
            show: open a window.
            wait_time: seconds the window stays; 0 until a key is pressed.
            out_file: picture file to write.
            step: of the vis backends.

        Raises:
            DataError: the picture cannot be written.
        """
        figure = self.draw(image, data_sample or RefSegDataSample(), draw_gt, draw_pred)
        if show:
            self.show(np.asarray(figure), win_name=name, wait_time=wait_time)
        if out_file is not None:
            _save(figure, Path(out_file))
            _save_words((data_sample or RefSegDataSample()).get('expression', ''), Path(out_file))
        elif not show:
            self.add_image(name, np.asarray(figure), step)

    @staticmethod
    def draw(image: np.ndarray, sample: RefSegDataSample, draw_gt: bool = True, draw_pred: bool = True) -> Image.Image:
        """The figure of one sample, as `add_datasample` draws it."""
        truth = pseudo = prediction = None
        if draw_gt and 'gt_sem_seg' in sample:
            truth = sample.gt_sem_seg.data[0].cpu().numpy() > 0
        if draw_pred and sample.get('pseudo_mask') is not None:
            pseudo = sample.pseudo_mask.data[0].float().cpu().numpy()
        if draw_pred:
            prediction = _prediction(sample, image.shape[:2] if truth is None else truth.shape)
        pred_iou = sample.get('pred_iou')
        panels = build_panels(
            Image.fromarray(image), truth, pseudo, prediction, None if pred_iou is None else float(pred_iou)
        )
        facts = (sample.get('sample_id'), sample.get('category'))
        subtitle = '  ·  '.join(str(fact) for fact in facts if fact is not None)
        return draw_figure(panels, sample.get('expression', ''), subtitle)


def _prediction(sample: RefSegDataSample, size: tuple[int, int]) -> np.ndarray | None:
    """The predicted mask, (h, w) bool; `size` (h, w) is used where only logits were predicted."""
    if 'pred_sem_seg' in sample:
        return sample.pred_sem_seg.data[0].cpu().numpy() > 0
    if 'seg_logits' in sample:
        logits = sample.seg_logits.data[None].float()
        logits = F.interpolate(logits, size=tuple(size), mode='bilinear', align_corners=False)[0]
        mask = logits[0] > 0 if len(logits) == 1 else logits[1] > logits[0]
        return mask.cpu().numpy()
    return None


def _save(figure: Image.Image, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {'quality': 92, 'subsampling': 0} if path.suffix.lower() in ('.jpg', '.jpeg') else {}
        figure.save(path, **options)
    except OSError as error:
        raise DataError(f'{path}: the picture cannot be written ({error})') from error


def _save_words(expression: str, path: Path) -> None:
    """Words that no font of this machine can draw stand in a text file beside their picture."""
    if can_draw(expression):
        return
    words = path.with_suffix('.txt')
    print_log(
        f'no installed font has the letters of {plain(expression)!r}: they stand in {plain(words)}; install one that '
        'has them (Debian: fonts-noto-cjk for Chinese)',
        'current',
        logging.WARNING,
    )
    try:
        words.write_text(expression + '\n', encoding='utf-8', errors='backslashreplace')
    except OSError as error:
        raise DataError(f'{words}: the words cannot be written ({error})') from error
