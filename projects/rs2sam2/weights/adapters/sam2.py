"""SAM 2.0's and 2.1's published weights, all four sizes (arXiv 2408.00714)."""

from rs2sam2.weights.adapters.adapter import Adapter
from rs2sam2.weights.adapters.names import NameTable

ROWS = (
    ('image_encoder.trunk.{rest}', 'backbone.trunk.{rest}'),
    ('image_encoder.neck.{rest}', 'backbone.neck.{rest}'),
    ('no_mem_embed', 'decode_head.no_mem_embed'),
    ('sam_prompt_encoder.{rest}', 'decode_head.prompt_encoder.{rest}'),
    ('sam_mask_decoder.{rest}', 'decode_head.mask_decoder.{rest}'),
)
MEMORY = 'memory of earlier video frames, one image has none'
POINTERS = 'object pointers between video frames'
ATTENTION = 'memory_attention.layers.{n}'
MEMORY_MODULES = (
    ('maskmem_tpos_enc', MEMORY),
    ('no_mem_pos_enc', MEMORY),
    (f'{ATTENTION}.self_attn.{{qkvo}}_proj.{{p}}', MEMORY),
    (f'{ATTENTION}.cross_attn_image.{{qkvo}}_proj.{{p}}', MEMORY),
    (f'{ATTENTION}.linear{{m}}.{{p}}', MEMORY),
    (f'{ATTENTION}.norm{{m}}.{{p}}', MEMORY),
    ('memory_attention.norm.{p}', MEMORY),
    ('memory_encoder.mask_downsampler.encoder.{n}.{p}', MEMORY),
    ('memory_encoder.fuser.layers.{n}.dwconv.{p}', MEMORY),
    ('memory_encoder.fuser.layers.{n}.norm.{p}', MEMORY),
    ('memory_encoder.fuser.layers.{n}.pwconv{m}.{p}', MEMORY),
    ('memory_encoder.fuser.layers.{n}.gamma', MEMORY),
    ('memory_encoder.pix_feat_proj.{p}', MEMORY),
    ('memory_encoder.out_proj.{p}', MEMORY),
    ('mask_downsample.{p}', POINTERS),
    ('no_obj_ptr', POINTERS),
    ('obj_ptr_proj.layers.{n}.{p}', POINTERS),
)
SAM21 = (
    ('no_obj_embed_spatial', f'{MEMORY} (SAM 2.1)'),
    ('obj_ptr_tpos_proj.{p}', f'{POINTERS} (SAM 2.1)'),
)
STEPS = (
    ('decode_head.iou_steps', 'counts our training steps of the score, 0 at first'),
    ('decode_head.presence_steps', 'counts our training steps of the score, 0 at first'),
)


def under(prefix: str, pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The pairs with a prefix before the first of each: the place of SAM2 in a larger model."""
    return tuple((prefix + name, value) for name, value in pairs)


ADAPTER = Adapter(
    source='sam2',
    title='SAM 2',
    published='github.com/facebookresearch/sam2, README (sam2_hiera_large.pt)',
    table=NameTable(ROWS),
    components=('backbone.', 'decode_head.'),
    dropped=(*MEMORY_MODULES, *SAM21),
    new=(
        *STEPS,
        ('decode_head.text_gate.{rest}', 'text gate, part of RS2-SAM2'),
        ('decode_head.losses.{rest}', 'loss of RS2-SAM2'),
    ),
    wrapper='model',
)
