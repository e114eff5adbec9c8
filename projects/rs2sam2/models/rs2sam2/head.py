"""SAM2's prompt encoder and mask decoder, prompted by text (SAM 2: arXiv 2408.00714; RS2-SAM2: arXiv 2503.07266)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.prompt_encoder import PromptEncoder
from sam2.modeling.sam.transformer import TwoWayTransformer
from torch import Tensor, nn

from rs2sam2.errors import ConfigError
from rs2sam2.models.common.losses import LossInputs
from rs2sam2.models.common.precision import no_autocast
from rs2sam2.structures import MaskPrediction, Prompts, TextState


class SAM2Head(BaseModule):
    """Gate the image feature by the text, prompt SAM2's mask decoder, and score its mask.

    Args:
        image_size: side S of SAM2's view, in pixels.
        dim: width C of features, text and prompts.
        num_heads: heads of the two-way transformer.
        mlp_dim: hidden width of its MLPs.
        text_gate: module called with (feature, position, text); None leaves the feature as it is.
        dense_prompt: whether a pseudo-mask is given; without one SAM2's `no_mask_embed` takes its place.
        multimask: take the best of SAM2's three masks by its predicted IoU (EVF-SAM2), not the single one.
        two_channel: the decoder's logit p stands for the channels [1 - p, p], so that a pixel is foreground where
            p > 0.5 (released RS2-SAM2); otherwise where p > 0 (SAM2, EVF-SAM2).
        point_prompts: whether the embeddings of points and boxes mean something, because the weights start from SAM2's:
            referring training never touches them, so from scratch they are noise and such prompts are refused.
        losses: modules called with `LossInputs`; each has a `name`, says whether it `reads_text`, and returns a scalar.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        image_size: int = 1024,
        dim: int = 256,
        num_heads: int = 8,
        mlp_dim: int = 2048,
        text_gate: nn.Module | None = None,
        dense_prompt: bool = True,
        multimask: bool = False,
        two_channel: bool = True,
        point_prompts: bool = False,
        losses: Sequence[nn.Module] = (),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.image_size = image_size
        self.dense_prompt = dense_prompt
        self.multimask = multimask
        self.two_channel = two_channel
        self.point_prompts = point_prompts
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, dim))
        nn.init.trunc_normal_(self.no_mem_embed, std=0.02)
        self.text_gate = text_gate
        self.prompt_encoder = PromptEncoder(
            embed_dim=dim,
            image_embedding_size=(image_size // 16, image_size // 16),
            input_image_size=(image_size, image_size),
            mask_in_chans=16,
        )
        self.mask_decoder = MaskDecoder(
            transformer_dim=dim,
            transformer=TwoWayTransformer(depth=2, embedding_dim=dim, num_heads=num_heads, mlp_dim=mlp_dim),
            iou_head_hidden_dim=dim,
            use_high_res_features=True,
            iou_prediction_use_sigmoid=True,
            pred_obj_scores=True,
            pred_obj_scores_mlp=True,
        )
        self.losses = nn.ModuleDict({loss.name: loss for loss in losses})
        # The dense position encoding, once the weights are final (`fold_for_inference`).
        self.register_buffer('fixed_position', None, persistent=False)
        # How many training steps each score has seen, kept in checkpoints: a score without any is not reported.
        self.register_buffer('iou_steps', torch.zeros((), dtype=torch.long))
        self.register_buffer('presence_steps', torch.zeros((), dtype=torch.long))
        self._freeze_unused()

    def _freeze_unused(self) -> None:
        """Freeze what training never reads; it stays so that SAM2's weights convert without loss."""
        decoder, encoder = self.mask_decoder, self.prompt_encoder
        unused = [encoder.point_embeddings, encoder.not_a_point_embed]
        unused += [encoder.no_mask_embed] if self.dense_prompt else [encoder.mask_downscaling]
        unused += decoder.output_hypernetworks_mlps[:1] if self.multimask else decoder.output_hypernetworks_mlps[1:]
        if 'loss_iou' not in self.losses:
            unused.append(decoder.iou_prediction_head)
        if 'loss_presence' not in self.losses:
            unused.append(decoder.pred_obj_score_head)
        for module in unused:
            module.requires_grad_(False)

    def forward(self, pyramid: Sequence[Tensor], text: TextState, prompts: Prompts) -> MaskPrediction:
        """Predict one mask a sample.

        Args:
            pyramid: features at strides 4, 8 and 16, each (B, C, h, w).
            text: the first text state.
            prompts: sparse prompts, pseudo-mask, and points where there are any.

        Returns:
            Mask, predicted IoU, presence and pseudo-mask; see `MaskPrediction`.

        Raises:
            ConfigError: points for a model that never learned them.
        """
        s4, s8, s16 = pyramid
        feature = s16 + self.no_mem_embed.transpose(1, 2).unsqueeze(-1)
        position = self.position(feature.shape[-2:])
        if self.text_gate is not None:
            feature = self.text_gate(feature, position, text)
        masks, iou, _, presence = self.mask_decoder(
            image_embeddings=feature,
            image_pe=position,
            sparse_prompt_embeddings=self.embed_sparse(prompts),
            dense_prompt_embeddings=self.embed_dense(prompts.pseudo_mask, feature),
            multimask_output=self.multimask,
            repeat_image=False,
            high_res_features=[self.mask_decoder.conv_s0(s4), self.mask_decoder.conv_s1(s8)],
        )
        if self.multimask:
            best = iou.argmax(dim=1)
            rows = torch.arange(best.shape[0], device=best.device)
            masks, iou = masks[rows, best].unsqueeze(1), iou[rows, best]
        return MaskPrediction(
            mask_logits=2 * masks - 1 if self.two_channel else masks,
            iou=iou.flatten(),
            presence_logits=presence.flatten(),
            pseudo_mask=prompts.pseudo_mask,
        )

    def position(self, size: Sequence[int]) -> Tensor:
        """SAM2's dense position encoding, (1, C, h, w); in fp32 under autocast too."""
        if self.fixed_position is not None and self.fixed_position.shape[-2:] == size:
            return self.fixed_position
        with no_autocast(self.no_mem_embed.device):
            return self.prompt_encoder.pe_layer(size).unsqueeze(0)

    def embed_sparse(self, prompts: Prompts) -> Tensor:
        """Sparse prompts (B, n, C): the text's, then those of points and boxes (the decoder knows no order)."""
        if prompts.points is None:
            return prompts.sparse
        if not self.point_prompts:
            raise ConfigError(
                "this model cannot be refined by a point or a box: its weights do not start from SAM2's, which alone "
                'have learned them (decode_head.point_prompts=False in its config); use the expression alone'
            )
        with no_autocast(self.no_mem_embed.device):
            points, _ = self.prompt_encoder(points=tuple(prompts.points), boxes=None, masks=None)
        return torch.cat([prompts.sparse, points], dim=1)

    def embed_dense(self, pseudo_mask: Tensor | None, feature: Tensor) -> Tensor:
        """Dense prompt (B, C, h, w): the pseudo-mask at four times the feature's size through SAM2's convolutions."""
        height, width = feature.shape[-2:]
        if not self.dense_prompt:
            return self.prompt_encoder.no_mask_embed.weight.view(1, -1, 1, 1).expand(
                feature.shape[0], -1, height, width
            )
        if pseudo_mask is None:
            raise ConfigError('decode_head.dense_prompt=True reads what mask_prompt_generator=None does not make')
        mask = F.interpolate(
            pseudo_mask.float(), size=(4 * height, 4 * width), mode='bilinear', align_corners=False, antialias=True
        )
        return self.prompt_encoder.mask_downscaling(mask)

    def loss(self, prediction: MaskPrediction, text: TextState, target: Tensor) -> dict[str, Tensor]:
        """Score a prediction.

        Args:
            prediction: what `forward` returned.
            text: the first text state.
            target: ground truth at the view's size, (B, 1, S, S), 0 or 1.

        Returns:
            One weighted scalar a loss, under its name; computed in fp32 under autocast too.
        """
        with no_autocast(target.device):
            inputs = LossInputs(
                mask_logits=F.interpolate(
                    prediction.mask_logits.float(), size=target.shape[-2:], mode='bilinear', align_corners=False
                ),
                target=target.float(),
                text=text.tokens[:, 0].float(),
                iou=_in_fp32(prediction.iou),
                presence_logits=_in_fp32(prediction.presence_logits),
                pseudo_mask=_in_fp32(prediction.pseudo_mask),
            )
            values = {name: loss(inputs) for name, loss in self.losses.items()}
        self.iou_steps += 'loss_iou' in values
        self.presence_steps += 'loss_presence' in values
        return values


def _in_fp32(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.float()
