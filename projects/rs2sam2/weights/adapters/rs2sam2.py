"""The released RS2-SAM2 weights, RRSIS-D and RefSegRS (arXiv 2503.07266), and what DeepSpeed's conversion writes."""

from rs2sam2.weights.adapters import beit3, sam2
from rs2sam2.weights.adapters.adapter import Adapter
from rs2sam2.weights.adapters.names import NameTable

FUSION = (
    ('Space_Adapter.D_fc1.{p}', 'fusion.down.{p}'),
    ('Space_Adapter.D_fc2.{p}', 'fusion.up.{p}'),
    ('Space_Adapter.text_in_linear.{p}', 'fusion.text_in.{p}'),
    ('Space_Adapter.text_out_linear.{p}', 'fusion.text_out.{p}'),
    ('Space_Adapter.vlfusion_module.multihead_attn.{rest}', 'fusion.image_reads_text.{rest}'),
    ('Space_Adapter.lvfusion_module.multihead_attn.{rest}', 'fusion.text_reads_image.{rest}'),
    ('MLP_Adapter.D_fc1.{p}', 'adapter.down.{p}'),
    ('MLP_Adapter.D_fc2.{p}', 'adapter.up.{p}'),
)
GATE = 'visual_model.sam_mask_decoder.vlfusion_module.multihead_attn.{rest}'
ROWS = (
    *beit3.rows('mm_extractor.beit3.', 'union_encoder.'),
    *((f'visual_model.image_encoder.trunk.blocks.{{n}}.{a}', f'neck.slots.{{n}}.{b}') for a, b in FUSION),
    (GATE, 'decode_head.text_gate.attention.{rest}'),
    *sam2.under('visual_model.', sam2.ROWS),
    ('text_hidden_fcs.0.{n}.{p}', 'sparse_proj.{n}.{p}'),
    ('text_feat_linear.{p}', 'text_proj.{p}'),
    ('vmtoken.multihead_attn.{rest}', 'mask_prompt_generator.attention.{rest}'),
    ('mask_linear.{p}', 'mask_prompt_generator.mix.{p}'),
    ('mask_product.{p}', 'mask_prompt_generator.score.{p}'),
    ('text2one_linear.{p}', 'decode_head.losses.loss_boundary.weight_from_text.{p}'),
)
ADAPTER = Adapter(
    source='rs2sam2',
    title='RS2-SAM2',
    published="the paper's project (arXiv 2503.07266)",
    table=NameTable(ROWS),
    components=('union_encoder.', 'backbone.', 'decode_head.', 'mask_prompt_generator.'),
    whole=True,
    dropped=(
        *sam2.under('visual_model.', sam2.MEMORY_MODULES),
        ('mm_extractor.beit3.vision_embed.mask_token', beit3.MASK_TOKEN),
        ('meo_linear.{p}', 'leftover layer that no output reads'),
    ),
    new=sam2.STEPS,
    prefixes=('module.', 'evf_model.'),
)
