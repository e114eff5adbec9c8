"""BEiT-3 as a union encoder: image patches and text tokens in one multiway transformer (arXiv 2208.10442)."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rs2sam2.models.common.attention import check_heads
from rs2sam2.models.common.linear import Linear
from rs2sam2.models.common.lora import add_lora
from rs2sam2.structures import UnionFeatures

# fairseq's learned positions: the i-th token takes row i + 2.
POSITION_OFFSET = 2

ARCHITECTURES = {
    'base': dict(dim=768, depth=12, num_heads=12),
    'large': dict(dim=1024, depth=24, num_heads=16),
}


class Multiway(nn.Module):
    """Two modules of one shape: `vision` for the image's part of the sequence, `text` for the rest."""

    def __init__(self, make, *args, **kwargs) -> None:
        super().__init__()
        self.vision = make(*args, **kwargs)
        self.text = make(*args, **kwargs)

    def forward(self, vision: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Apply each expert to its part, (B, 1 + N, D) and (B, L, D)."""
        return self.vision(vision), self.text(text)


class FeedForward(nn.Module):
    """fc2(LayerNorm(gelu(fc1(x)))), the sub-LayerNorm form."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = Linear(dim, hidden_dim)
        self.norm = nn.LayerNorm(hidden_dim)
        self.fc2 = Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, D) to (B, N, D)."""
        return self.fc2(self.norm(F.gelu(self.fc1(x))))


class MultiwayAttention(nn.Module):
    """Self-attention over the joined sequence, projections and the inner LayerNorm per modality."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        check_heads(dim, num_heads)
        self.num_heads = num_heads
        self.q_proj = Multiway(Linear, dim, dim)
        self.k_proj = Multiway(Linear, dim, dim)
        self.v_proj = Multiway(Linear, dim, dim)
        self.inner_norm = Multiway(nn.LayerNorm, dim)
        self.out_proj = Multiway(Linear, dim, dim)

    def forward(self, vision: Tensor, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Attend over both parts; `mask` (B, 1, 1, 1 + N + L) is True where a key counts."""
        q, k, v = (
            torch.cat(project(vision, text), dim=1).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        return self.out_proj(*self.inner_norm(*out.split((vision.shape[1], text.shape[1]), dim=1)))


class MultiwayBlock(nn.Module):
    """A pre-norm transformer block with sub-LayerNorm (Magneto), every layer once per modality."""

    def __init__(self, dim: int, num_heads: int, hidden_dim: int) -> None:
        super().__init__()
        self.attn_norm = Multiway(nn.LayerNorm, dim)
        self.attn = MultiwayAttention(dim, num_heads)
        self.ffn_norm = Multiway(nn.LayerNorm, dim)
        self.ffn = Multiway(FeedForward, dim, hidden_dim)

    def forward(self, vision: Tensor, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 1 + N, D) and (B, L, D) to the same shapes."""
        vision_out, text_out = self.attn(*self.attn_norm(vision, text), mask)
        vision, text = vision + vision_out, text + text_out
        vision_out, text_out = self.ffn(*self.ffn_norm(vision, text))
        return vision + vision_out, text + text_out


class VisionEmbedding(nn.Module):
    """Patches by a strided convolution, a CLS token in front."""

    def __init__(self, dim: int, patch_size: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.proj = nn.Conv2d(3, dim, patch_size, patch_size)

    def forward(self, image: Tensor) -> Tensor:
        """Embed (B, 3, s, s) as (B, 1 + N, D), patches row by row."""
        patches = self.proj(image).flatten(2).transpose(1, 2)
        return torch.cat((self.cls_token.expand(patches.shape[0], -1, -1), patches), dim=1)


class BEiT3UnionEncoder(BaseModule):
    """Encode an image and an expression together (BEiT-3, https://arxiv.org/abs/2208.10442).

    Args:
        arch: 'base', 'large', or a dict with `dim`, `depth`, `num_heads`.
        image_size: side of the view, in pixels; a multiple of `patch_size`.
        patch_size: side of a patch, in pixels.
        vocab_size: rows of the token table; BEiT-3's has 64,010.
        max_text_length: longest text, in tokens; the position table has two rows more.
        mask_unknown: mask unknown words as if they were padding, as the released RS2-SAM2 does.
        unknown_id: id of `<unk>`.
        train: what learns: 'full', 'lora' (low-rank updates of the linear layers) or 'frozen'.
        lora: rank `r` and weight `alpha` of the updates; see `add_lora`.
        checkpointing: keep only every block's input in training and compute the rest again in the backward pass.
        init_cfg: mmengine's initialisation config.
    """

    def __init__(
        self,
        arch: str | dict = 'large',
        image_size: int = 224,
        patch_size: int = 16,
        vocab_size: int = 64010,
        max_text_length: int = 1022,
        mask_unknown: bool = True,
        unknown_id: int = 3,
        train: str = 'full',
        lora: dict | None = None,
        checkpointing: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if isinstance(arch, str) and arch not in ARCHITECTURES:
            raise ValueError(f'arch must be one of {sorted(ARCHITECTURES)} or a dict, got {arch!r}')
        dim, depth, num_heads = (
            (ARCHITECTURES[arch] if isinstance(arch, str) else arch)[key] for key in ('dim', 'depth', 'num_heads')
        )
        if image_size % patch_size:
            raise ValueError(f'image_size {image_size} is not a multiple of patch_size {patch_size}')
        if train not in ('full', 'lora', 'frozen'):
            raise ValueError(f"train must be 'full', 'lora' or 'frozen', got {train!r}")
        self.checkpointing = checkpointing
        self.dim = dim
        self.image_size = image_size
        self.max_text_length = max_text_length
        self.mask_unknown = mask_unknown
        self.unknown_id = unknown_id
        num_patches = (image_size // patch_size) ** 2
        self.vision_embed = VisionEmbedding(dim, patch_size)
        self.text_embed = nn.Embedding(vocab_size, dim)
        self.positions = nn.ModuleDict(
            dict(
                vision=nn.Embedding(POSITION_OFFSET + 1 + num_patches, dim),
                text=nn.Embedding(POSITION_OFFSET + max_text_length, dim),
            )
        )
        self.layers = nn.ModuleList(MultiwayBlock(dim, num_heads, 4 * dim) for _ in range(depth))
        self.norm = Multiway(nn.LayerNorm, dim)
        for weight in (self.vision_embed.cls_token, *(m.weight for m in (self.text_embed, *self.positions.values()))):
            nn.init.trunc_normal_(weight, std=0.02)
        if train == 'lora':
            add_lora(self, **(lora or {}))
        elif train == 'frozen':
            self.requires_grad_(False)

    def freeze_text_output(self) -> None:
        """Freeze what only the text features come from: the last block's text layers after its keys and values."""
        last = self.layers[-1]
        for module in (last.attn.q_proj, last.attn.inner_norm, last.attn.out_proj, last.ffn_norm, last.ffn, self.norm):
            module.text.requires_grad_(False)

    def forward(self, image: Tensor, token_ids: Tensor, text_mask: Tensor) -> UnionFeatures:
        """Encode one view and one expression a sample.

        Args:
            image: normalised view, (B, 3, s, s).
            token_ids: padded token ids, (B, L) int64.
            text_mask: True where a token is no padding, (B, L) bool.

        Returns:
            cls (B, 1, D), patches (B, N, D), text (B, L, D). Text at padded positions is meaningless.

        Raises:
            ValueError: the view is not `image_size` wide and high, or the text is longer than the table.
        """
        if image.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(f'the view is {tuple(image.shape[-2:])}, the union encoder takes {self.image_size} px')
        if token_ids.shape[1] > self.max_text_length:
            raise ValueError(f'{token_ids.shape[1]} tokens, the text table has room for {self.max_text_length}')
        counts = text_mask & (token_ids != self.unknown_id) if self.mask_unknown else text_mask
        vision = self.vision_embed(image) + self.positions['vision'].weight[POSITION_OFFSET:]
        text = self.text_embed(token_ids) + self.positions['text'].weight[POSITION_OFFSET:][: token_ids.shape[1]]
        text = text * counts.unsqueeze(-1)
        mask = torch.cat((counts.new_ones(counts.shape[0], vision.shape[1]), counts), dim=1)[:, None, None, :]
        for layer in self.layers:
            if self.checkpointing and torch.is_grad_enabled():
                vision, text = checkpoint(layer, vision, text, mask, use_reentrant=False, preserve_rng_state=False)
            else:
                vision, text = layer(vision, text, mask)
        vision, text = self.norm(vision, text)
        return UnionFeatures(cls=vision[:, :1], patches=vision[:, 1:], text=text)
