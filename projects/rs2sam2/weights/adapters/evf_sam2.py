"""EVF-SAM2's released weights (arXiv 2406.20076): SAM2 with a union encoder, no fusion, generator or gate."""

from rs2sam2.weights.adapters import beit3, sam2
from rs2sam2.weights.adapters.adapter import Adapter
from rs2sam2.weights.adapters.names import NameTable

ADAPTER = Adapter(
    source='evf-sam2',
    title='EVF-SAM2',
    published='Hugging Face, YxZhang/evf-sam2',
    table=NameTable(
        (
            *beit3.rows('mm_extractor.beit3.', 'union_encoder.'),
            *sam2.under('visual_model.', sam2.ROWS),
            ('text_hidden_fcs.0.{n}.{p}', 'sparse_proj.{n}.{p}'),
        )
    ),
    components=('union_encoder.', 'backbone.', 'decode_head.'),
    whole=True,
    dropped=(
        *sam2.under('visual_model.', sam2.MEMORY_MODULES),
        ('visual_model.memory_encoder.fuser.layers.{n}.weight', f'{sam2.MEMORY} (its name for gamma)'),
        ('mm_extractor.beit3.vision_embed.mask_token', beit3.MASK_TOKEN),
    ),
    new=(
        *sam2.STEPS,
        ('text_proj.{p}', 'text state for the boundary loss; no mask depends on it'),
        ('decode_head.losses.{rest}', 'loss of RS2-SAM2'),
    ),
    prefixes=('module.', 'evf_model.'),
)
