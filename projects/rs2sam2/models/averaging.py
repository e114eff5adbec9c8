"""Test-time augmentation: one prediction of a picture and its turned copies, by mmengine's `BaseTTAModel`."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from torch import nn

from rs2sam2.errors import ConfigError
from rs2sam2.structures import ReferringSample, RefSegDataSample
from rs2sam2.symmetry import SYMMETRIES


class TurnAveraging(BaseTTAModel):
    """A model tested on turned copies of every sample, as `TestTimeAug` with `Turn` makes them.

    One forward a copy; a copy whose sentence could not be turned (`turn_refused`) is left out.

    Args:
        module: the model, or its config.

    Raises:
        ConfigError: the first copy is not the picture as it is.
    """

    def __init__(self, module: dict | nn.Module) -> None:
        super().__init__(MODELS.build(module) if isinstance(module, dict) else module)

    def test_step(self, data: dict) -> list[RefSegDataSample]:
        """Predict every copy of a batch and average.

        Args:
            data: `inputs` and `data_samples`, each a list with one batch for each symmetry, the identity first.
        """
        predictions: list[list[RefSegDataSample]] = [[] for _ in data['data_samples'][0]]
        for inputs, samples in zip(data['inputs'], data['data_samples'], strict=True):
            kept = [i for i, sample in enumerate(samples) if 'turn_refused' not in sample]
            if not kept:
                continue
            inputs = ReferringSample(*([field[i] for i in kept] for field in inputs))
            found = self.module.test_step(dict(inputs=inputs, data_samples=[samples[i] for i in kept]))
            for i, sample in zip(kept, found, strict=True):
                predictions[i].append(sample)
        return self.merge_preds(predictions)

    def merge_preds(self, data_samples_list: Sequence[Sequence[RefSegDataSample]]) -> list[RefSegDataSample]:
        """Average the copies of each sample."""
        elements = [tuple(sample.get('turned_by') for sample in copies) for copies in data_samples_list]
        if any(names[:1] != ('identity',) or None in names for names in elements):
            raise ConfigError("tta_pipeline: TestTimeAug needs Turn transforms, element='identity' first")
        return [average_turned(*pair) for pair in zip(data_samples_list, elements, strict=True)]


def average_turned(copies: Sequence[RefSegDataSample], elements: Sequence[str]) -> RefSegDataSample:
    """One prediction of the predictions for a sample and its turned copies.

    Log-odds, pseudo-mask and scores are means over the copies, turned back; the mask is decided anew.

    Args:
        copies: predictions; the first, of the picture as it is, is changed.
        elements: the symmetries of the copies, 'identity' first.

    Returns:
        The first, with `averaged_over` in its meta: the symmetries.
    """
    first = copies[0]
    first.set_metainfo(dict(averaged_over=tuple(elements)))
    if len(copies) == 1:
        return first
    backs = [SYMMETRIES[element].inverse for element in elements]
    logits = _mean([back.apply(sample.seg_logits.data) for back, sample in zip(backs, copies, strict=True)])
    size = tuple(first.ori_shape)
    first.seg_logits = PixelData(data=logits)
    first.pred_sem_seg = PixelData(data=(_resized(logits, size) > 0).byte())
    if 'pseudo_mask' in first:
        turned_back = [back.apply(sample.pseudo_mask.data) for back, sample in zip(backs, copies, strict=True)]
        first.pseudo_mask = PixelData(data=_mean(turned_back))
    for name in ('pred_iou', 'presence'):
        values = [sample.get(name) for sample in copies]
        first.set_field(None if None in values else sum(values) / len(values), name)
    return first


def _mean(tensors: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(tensors).mean(0)


def _resized(logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """As `ReferringSegmentor.predict` decides its masks."""
    return F.interpolate(logits[None], size=size, mode='bilinear', align_corners=False)[0]
