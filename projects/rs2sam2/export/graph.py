"""A model as what is exported: pixels and token ids in, masks and scores out, nothing in between left to do."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from rs2sam2.inference.exported import INPUTS, OUTPUTS
from rs2sam2.models.protocol import ReferringSegmentor
from rs2sam2.structures import MaskPrediction, ReferringBatch

MOST_IN_BATCH = 4096


class ExportedGraph(nn.Module):
    """The forward pass from uint8 views to log-odds and probabilities.

    Args:
        model: folded, on the CPU in fp32.
        names: those of `OUTPUTS` that the model has, which `forward` returns.
    """

    def __init__(self, model: ReferringSegmentor, names: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(names)

    def forward(
        self, image: Tensor, token_ids: Tensor, text_mask: Tensor, union_image: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Segment.

        Args:
            image: view that is segmented, (B, 3, S, S) uint8 RGB.
            token_ids: padded ids, (B, L) int64.
            text_mask: True where a token counts, (B, L) bool.
            union_image: the union encoder's view, (B, 3, s, s) uint8 RGB, of a model that has one.

        Returns:
            mask_logits (B, 1, h, w) and, where the model has them, pseudo_mask (B, 1, h, w), predicted_iou and
            presence (B,), probabilities each.
        """
        preprocessor = self.model.data_preprocessor
        batch = ReferringBatch(
            image=(image.float() / 255 - preprocessor.mean) / preprocessor.std,
            union_image=(
                None if union_image is None
                else (union_image.float() / 255 - preprocessor.union_mean) / preprocessor.union_std
            ),
            token_ids=token_ids,
            text_mask=text_mask,
        )  # fmt: skip
        prediction = self.model.encode_decode(batch)
        return tuple(_OUTPUT[name](prediction) for name in self.names)


_OUTPUT: dict[str, Callable[[MaskPrediction], Tensor]] = {
    'mask_logits': lambda prediction: prediction.mask_logits,
    'pseudo_mask': lambda prediction: prediction.pseudo_mask,
    'predicted_iou': lambda prediction: prediction.iou,
    'presence': lambda prediction: torch.sigmoid(prediction.presence_logits),
}


@torch.inference_mode()
def compute(model: ReferringSegmentor, batch: ReferringBatch) -> dict[str, np.ndarray]:
    """What the model itself says of a batch, by the names of `OUTPUTS` that it has."""
    prediction = model.encode_decode(batch)
    iou, presence = model.scores(prediction)
    values = (
        prediction.mask_logits.numpy(),
        None if prediction.pseudo_mask is None else prediction.pseudo_mask.numpy(),
        None if iou is None else np.array(iou, np.float32),
        None if presence is None else np.array(presence, np.float32),
    )
    return {name: value for name, value in zip(OUTPUTS, values, strict=True) if value is not None}


def trace(graph: ExportedGraph, feeds: Mapping[str, Tensor]) -> ExportedProgram:
    """The graph as a program of torch.export, with any batch and any length of text.

    Args:
        graph: the model.
        feeds: an example of its inputs; at least two samples, of at least two tokens.
    """
    batch = Dim('batch', min=1, max=MOST_IN_BATCH)
    length = Dim('length', min=2, max=graph.model.input_spec.max_text_length)
    names = [name for name in INPUTS if name in feeds]
    shapes = {name: {0: batch, 1: length} if name in ('token_ids', 'text_mask') else {0: batch} for name in names}
    # With gradients on, linear layers take PyTorch's own path; without, oneDNN's operator, which no other runtime has.
    with torch.enable_grad():
        return torch.export.export(
            graph,
            tuple(feeds[name] for name in names),
            dynamic_shapes=tuple(shapes[name] for name in names),
            # Of torch.export: the model is run and its operations are noted; strict follows the bytecode, for minutes.
            strict=False,
        )
