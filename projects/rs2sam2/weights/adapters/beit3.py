"""BEiT-3's published weights: `beit3_{base,large}_patch16_*.pth` (arXiv 2208.10442)."""

from rs2sam2.weights.adapters.adapter import Adapter
from rs2sam2.weights.adapters.names import NameTable

ROWS = (
    ('text_embed.weight', 'text_embed.weight'),
    ('vision_embed.cls_token', 'vision_embed.cls_token'),
    ('vision_embed.proj.{p}', 'vision_embed.proj.{p}'),
    ('encoder.embed_positions.{way}.weight', 'positions.{way}.weight'),
    ('encoder.layers.{n}.self_attn.{qkvo}_proj.{way}.{p}', 'layers.{n}.attn.{qkvo}_proj.{way}.{p}'),
    ('encoder.layers.{n}.self_attn.inner_attn_ln.{way}.{p}', 'layers.{n}.attn.inner_norm.{way}.{p}'),
    ('encoder.layers.{n}.self_attn_layer_norm.{way}.{p}', 'layers.{n}.attn_norm.{way}.{p}'),
    ('encoder.layers.{n}.ffn.{way}.ffn_layernorm.{p}', 'layers.{n}.ffn.{way}.norm.{p}'),
    ('encoder.layers.{n}.ffn.{way}.fc{m}.{p}', 'layers.{n}.ffn.{way}.fc{m}.{p}'),
    ('encoder.layers.{n}.final_layer_norm.{way}.{p}', 'layers.{n}.ffn_norm.{way}.{p}'),
    ('encoder.layer_norm.{way}.{p}', 'norm.{way}.{p}'),
)
MASK_TOKEN = 'pre-training only: stands for masked patches'
HEAD = 'head of a pre-training or fine-tuning task'


def rows(official: str, ours: str) -> tuple[tuple[str, str], ...]:
    """BEiT-3's table under the names of its place in a larger model."""
    return tuple((official + there, ours + here) for there, here in ROWS)


ADAPTER = Adapter(
    source='beit3',
    title='BEiT-3',
    published='github.com/microsoft/unilm, folder beit3 (beit3_large_patch16_224.pth)',
    table=NameTable(rows('beit3.', 'union_encoder.')),
    components=('union_encoder.',),
    dropped=(
        ('beit3.vision_embed.mask_token', MASK_TOKEN),
        ('{head}.{rest}', HEAD),
        ('pooler.{rest}', HEAD),
        ('fc_norm.{p}', HEAD),
        ('logit_scale', HEAD),
    ),
    prefixes=('module.',),
    wrapper='model',
    resized=('union_encoder.positions.vision.weight',),
)
