"""CLIP or SigLIP as a union encoder: transformers' two towers, joined by a small transformer of our own.

CLIP (arXiv 2103.00020), SigLIP (arXiv 2303.15343), SigLIP 2 with a fixed resolution (arXiv 2502.14786).
"""

from inspect import signature

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs2sam2.errors import ConfigError
from rs2sam2.models.common.hf_config import one_line, read_hf_config
from rs2sam2.models.common.lora import add_lora
from rs2sam2.structures import UnionFeatures

MODEL_TYPES = ('clip', 'siglip')


class TowerFusion(nn.Module):
    """Join what two towers say: a transformer over [cls | patches | text], pre-norm, full attention.

    The towers have not seen each other. The CLS token starts as the sum of their projected pooled outputs; the blocks
    let it, the patches and the text read each other, so that each is multimodal as BEiT-3's are.

    Args:
        vision_dim: width of the vision tower.
        text_dim: width of the text tower.
        pooled_text_dim: width of its pooled output.
        dim: width D of the result.
        depth: transformer blocks.
        num_heads: attention heads; must divide `dim`.
    """

    def __init__(
        self, vision_dim: int, text_dim: int, pooled_text_dim: int, dim: int, depth: int, num_heads: int
    ) -> None:
        super().__init__()
        self.patch_proj = _projection(vision_dim, dim)
        self.token_proj = _projection(text_dim, dim)
        self.pooled_image_proj = _projection(vision_dim, dim)
        self.pooled_text_proj = _projection(pooled_text_dim, dim)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim, num_heads, 4 * dim, dropout=0.0, activation='gelu', batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, patches: Tensor, tokens: Tensor, pooled_image: Tensor, pooled_text: Tensor, text_mask: Tensor
    ) -> UnionFeatures:
        """Join.

        Args:
            patches: (B, N, vision_dim).
            tokens: (B, L, text_dim).
            pooled_image: (B, vision_dim).
            pooled_text: (B, pooled_text_dim).
            text_mask: True where a token counts, (B, L) bool.

        Returns:
            cls (B, 1, D), patches (B, N, D), text (B, L, D).
        """
        cls = (self.pooled_image_proj(pooled_image) + self.pooled_text_proj(pooled_text)).unsqueeze(1)
        x = torch.cat((cls, self.patch_proj(patches), self.token_proj(tokens)), dim=1)
        ignored = F.pad(~text_mask, (1 + patches.shape[1], 0))
        for block in self.blocks:
            x = block(x, src_key_padding_mask=ignored)
        return UnionFeatures(*self.norm(x).split((1, patches.shape[1], tokens.shape[1]), dim=1))


class DualUnionEncoder(BaseModule):
    """Encode an image and an expression by CLIP's or SigLIP's towers and a fusion of the two.

    Text is read as the towers were trained. CLIP's tower is causal, so padding at the end changes no token before it.
    SigLIP's attends to padding and is pooled at the last of its 64 positions: it always gets the full length, filled
    with `pad_id`. Either way a text's features do not depend on the batch that it is in.

    Args:
        towers: a local folder in Hugging Face form, its `config.json` and weights; or a config of the towers with
            `model_type` 'clip' or 'siglip' and transformers' `vision_config` and `text_config`. Then the weights are
            random until `init_cfg`, here or in the segmentor, names some (`OfficialWeights`, 'clip' or 'siglip').
        dim: width D of the result.
        fusion_depth: blocks of the fusion; at least 1.
        num_heads: attention heads of the fusion; must divide `dim`.
        pad_id: token id that fills SigLIP's text; None takes the text config's (SigLIP 2's tokenizer pads with 0).
        train: what of the towers learns: 'full', 'lora' (low-rank updates of the linear layers) or 'frozen'. The fusion
            always learns.
        lora: rank `r` and weight `alpha` of the updates; see `add_lora`.
        checkpointing: keep only every tower block's input in training and compute the rest again in the backward pass.
        init_cfg: mmengine's initialisation config; None with a folder takes the folder's weights.

    Raises:
        ConfigError: the folder or the config cannot be used.
    """

    def __init__(
        self,
        towers: str | dict,
        dim: int = 768,
        fusion_depth: int = 2,
        num_heads: int = 12,
        pad_id: int | None = None,
        train: str = 'full',
        lora: dict | None = None,
        checkpointing: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if fusion_depth < 1:
            raise ConfigError(f'fusion_depth={fusion_depth}: without a block the CLS token and the patches see no text')
        if train not in ('full', 'lora', 'frozen'):
            raise ConfigError(f"train must be 'full', 'lora' or 'frozen', got {train!r}")
        if dim % num_heads:
            raise ConfigError(f'dim={dim} is no multiple of num_heads={num_heads}')
        config = _towers_config(towers)
        if isinstance(towers, str) and init_cfg is None:
            init_cfg = dict(type='OfficialWeights', source=config.model_type, checkpoint=towers)
        super().__init__(init_cfg)
        vision, text = config.vision_config, config.text_config
        self.dim = dim
        self.image_size = vision.image_size
        self.num_patches = (vision.image_size // vision.patch_size) ** 2
        self.max_text_length = text.max_position_embeddings
        self.pad_id = text.pad_token_id if pad_id is None else pad_id
        if self.pad_id not in range(text.vocab_size):
            raise ConfigError(f"pad_id={self.pad_id} is none of the towers' {text.vocab_size} ids: set the tokenizer's")
        self.reads_padding = config.model_type == 'siglip'
        # In a ModuleDict, because mmengine calls `init_weights` of direct children, and transformers' models have one.
        self.towers = nn.ModuleDict(_build_towers(config, towers))
        pooled_text_dim = text.projection_size if config.model_type == 'siglip' else text.hidden_size
        self.fusion = TowerFusion(vision.hidden_size, text.hidden_size, pooled_text_dim, dim, fusion_depth, num_heads)
        for tower in self.towers.values():
            if train != 'full':
                tower.requires_grad_(False)
            if train == 'lora':
                add_lora(tower, **(lora or {}))
            if checkpointing:
                # Newer transformers have it under another name and warn of this one.
                enable = getattr(tower, 'activation_checkpointing_enable', tower.gradient_checkpointing_enable)
                enable(dict(use_reentrant=False, preserve_rng_state=False))

    def freeze_text_output(self) -> None:
        """Nothing to freeze: the text's part of the sequence has no layer of its own."""

    def forward(self, image: Tensor, token_ids: Tensor, text_mask: Tensor) -> UnionFeatures:
        """Encode one view and one expression a sample.

        Args:
            image: normalised view, (B, 3, s, s).
            token_ids: padded token ids, (B, L) int64, as the towers' own tokenizer gives them.
            text_mask: True where a token is no padding, (B, L) bool.

        Returns:
            cls (B, 1, D), patches (B, N, D), text (B, L, D). Text at padded positions is meaningless.

        Raises:
            ValueError: the view is not `image_size` wide and high, or the text is longer than the table.
        """
        if image.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(f'the view is {tuple(image.shape[-2:])}, the union encoder takes {self.image_size} px')
        length = token_ids.shape[1]
        if length > self.max_text_length:
            raise ValueError(f'{length} tokens, the text table has room for {self.max_text_length}')
        token_ids = token_ids.masked_fill(~text_mask, self.pad_id)
        if self.reads_padding:
            token_ids = F.pad(token_ids, (0, self.max_text_length - length), value=self.pad_id)
        vision = self.towers['vision'](pixel_values=image)
        text = self.towers['text'](input_ids=token_ids)
        words = text.last_hidden_state
        if self.reads_padding:
            # A copy: of a slice, torch.export would fix whether it is the whole.
            words = words.index_select(1, torch.arange(length, device=words.device))
        return self.fusion(
            # CLIP's vision tower has a CLS token before the patches, SigLIP's none.
            patches=vision.last_hidden_state[:, -self.num_patches :],
            tokens=words,
            pooled_image=vision.pooler_output,
            pooled_text=text.pooler_output,
            text_mask=text_mask,
        )


def _projection(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(before), nn.Linear(before, after))


def _towers_config(towers: str | dict):  # transformers' config, a class that is imported late
    """Read the towers' config from a folder or a dict, as transformers' own class."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    values = read_hf_config(towers) if isinstance(towers, str) else dict(towers)
    name = towers if isinstance(towers, str) else 'towers'
    if values.get('model_type') not in MODEL_TYPES:
        raise ConfigError(f'{name}: model_type is {values.get("model_type")!r}, not one of {", ".join(MODEL_TYPES)}')
    try:
        config = AutoConfig.for_model(**values)
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise ConfigError(f'{name} is no usable config of {values["model_type"]}: {one_line(error)}') from error
    vision = config.vision_config
    if not (isinstance(vision.image_size, int) and isinstance(vision.patch_size, int)):
        raise ConfigError(f'{name}: image_size and patch_size of vision_config must be numbers, for a square view')
    if not getattr(vision, 'vision_use_head', True):
        raise ConfigError(f'{name}: vision_config turns off vision_use_head, whose pooled image the fusion starts from')
    if not isinstance(towers, str):
        # transformers takes any key; a misspelt one would leave its default in place.
        for section in ('vision_config', 'text_config'):
            unknown = set(values.get(section, ())) - set(signature(type(getattr(config, section))).parameters)
            if unknown:
                raise ConfigError(
                    f'towers.{section} has {", ".join(sorted(unknown))}, which transformers does not know'
                )
    return config


def _build_towers(config, towers: str | dict) -> dict[str, nn.Module]:
    """Both towers with random weights in fp32, whatever precision the config was saved with."""
    from transformers import AutoModel

    try:
        model = AutoModel.from_config(config, dtype=torch.float32)
    except ValueError as error:
        raise ConfigError(f'{towers} is no usable config of {config.model_type}: {one_line(error)}') from error
    return dict(vision=model.vision_model, text=model.text_model)
