"""Names of the released RS2-SAM2 weights."""

from rs2sam2.conversion.names import NameTable

BEIT3 = (
    ('text_embed.weight', 'text_embed.weight'),
    ('vision_embed.{rest}', 'vision_embed.{rest}'),
    ('encoder.embed_positions.{way}.weight', 'positions.{way}.weight'),
    ('encoder.layers.{n}.self_attn.{qkvo}_proj.{way}.{p}', 'layers.{n}.attn.{qkvo}_proj.{way}.{p}'),
    ('encoder.layers.{n}.self_attn.inner_attn_ln.{way}.{p}', 'layers.{n}.attn.inner_norm.{way}.{p}'),
    ('encoder.layers.{n}.self_attn_layer_norm.{way}.{p}', 'layers.{n}.attn_norm.{way}.{p}'),
    ('encoder.layers.{n}.ffn.{way}.ffn_layernorm.{p}', 'layers.{n}.ffn.{way}.norm.{p}'),
    ('encoder.layers.{n}.ffn.{way}.{rest}', 'layers.{n}.ffn.{way}.{rest}'),
    ('encoder.layers.{n}.final_layer_norm.{way}.{p}', 'layers.{n}.ffn_norm.{way}.{p}'),
    ('encoder.layer_norm.{way}.{p}', 'norm.{way}.{p}'),
)
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
ROWS = (
    *((f'mm_extractor.beit3.{official}', f'union_encoder.{ours}') for official, ours in BEIT3),
    *((f'visual_model.image_encoder.trunk.blocks.{{n}}.{a}', f'neck.slots.{{n}}.{b}') for a, b in FUSION),
    ('visual_model.image_encoder.{rest}', 'backbone.{rest}'),
    ('visual_model.no_mem_embed', 'decode_head.no_mem_embed'),
    ('visual_model.sam_prompt_encoder.{rest}', 'decode_head.prompt_encoder.{rest}'),
    ('visual_model.sam_mask_decoder.vlfusion_module.multihead_attn.{rest}', 'decode_head.text_gate.attention.{rest}'),
    ('visual_model.sam_mask_decoder.{rest}', 'decode_head.mask_decoder.{rest}'),
    ('text_hidden_fcs.0.{n}.{p}', 'sparse_proj.{n}.{p}'),
    ('text_feat_linear.{p}', 'text_proj.{p}'),
    ('vmtoken.multihead_attn.{rest}', 'mask_prompt_generator.attention.{rest}'),
    ('mask_linear.{p}', 'mask_prompt_generator.mix.{p}'),
    ('mask_product.{p}', 'mask_prompt_generator.score.{p}'),
    ('text2one_linear.{p}', 'decode_head.losses.loss_boundary.weight_from_text.{p}'),
)
TABLE = NameTable(ROWS)
