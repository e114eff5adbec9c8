"""Swin Transformer's published weights, such as `swin_base_patch4_window12_384_22k.pth` (arXiv 2103.14030)."""

from rs2sam2.weights.adapters.adapter import Adapter
from rs2sam2.weights.adapters.names import NameTable

BLOCK, OUR_BLOCK = 'layers.{n}.blocks.{m}.', 'stages.{n}.blocks.{m}.'
ROWS = (
    ('patch_embed.proj.{p}', 'patch_embed.projection.{p}'),
    ('patch_embed.norm.{p}', 'patch_embed.norm.{p}'),
    (BLOCK + 'norm1.{p}', OUR_BLOCK + 'norm1.{p}'),
    (BLOCK + 'attn.qkv.{p}', OUR_BLOCK + 'attn.w_msa.qkv.{p}'),
    (BLOCK + 'attn.proj.{p}', OUR_BLOCK + 'attn.w_msa.proj.{p}'),
    (BLOCK + 'attn.relative_position_bias_table', OUR_BLOCK + 'attn.w_msa.relative_position_bias_table'),
    (BLOCK + 'attn.relative_position_index', OUR_BLOCK + 'attn.w_msa.relative_position_index'),
    (BLOCK + 'norm2.{p}', OUR_BLOCK + 'norm2.{p}'),
    (BLOCK + 'mlp.fc1.{p}', OUR_BLOCK + 'ffn.layers.0.0.{p}'),
    (BLOCK + 'mlp.fc2.{p}', OUR_BLOCK + 'ffn.layers.1.{p}'),
    ('layers.{n}.downsample.norm.{p}', 'merges.{n}.norm.{p}'),
    ('layers.{n}.downsample.reduction.weight', 'merges.{n}.reduction.weight'),
)
NUMBERING = 'numbering of positions, no weight'
COMPUTED = (
    ('{rest}.relative_position_index', NUMBERING),
    ('{rest}.num_batches_tracked', 'count of training steps that nothing reads'),
)
CLASSES = 'classification of whole images'
LANGUAGE = 'reads the expression, no part of Swin'


def rows(official: str, ours: str) -> tuple[tuple[str, str], ...]:
    """Swin's table under the names of its place in a larger model."""
    return tuple((official + there, ours + here) for there, here in ROWS)


ADAPTER = Adapter(
    source='swin',
    title='Swin Transformer',
    published='github.com/microsoft/Swin-Transformer, README (swin_base_patch4_window12_384_22k.pth)',
    table=NameTable(rows('', 'backbone.')),
    components=('backbone.',),
    dropped=(
        ('norm.{p}', CLASSES),
        ('head.{p}', CLASSES),
        (BLOCK + 'attn_mask', 'mask of shifted windows at one size of images'),
    ),
    new=(
        ('backbone.stages.{n}.fusion.{rest}', LANGUAGE),
        ('backbone.stages.{n}.language_gate.{rest}', LANGUAGE),
        ('backbone.stages.{n}.visual_{rest}', "RMSIN's branch, no part of Swin"),
        ('backbone.norms.{n}.{p}', 'norm of an output, no part of Swin'),
    ),
    computed=COMPUTED,
    wrapper='model',
)
