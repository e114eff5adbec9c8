# RS2-SAM2 with SigLIP Base (patch 16, 224 px) in BEiT-3's place.
_base_ = ['rs2sam2_l.py']
half = (0.5, 0.5, 0.5)
union_dim = 768
model = dict(
    init_cfg=[
        dict(type='OfficialWeights', source='siglip', checkpoint='pretrained/siglip-base-patch16-224'),
        dict(type='OfficialWeights', source='sam2', checkpoint='pretrained/sam2_hiera_large.pt'),
    ],
    data_preprocessor=dict(union_mean=half, union_std=half, pad_id=1, vocab_size=32000, max_text_length=64),
    union_encoder=dict(
        _delete_=True,
        type='DualUnionEncoder',
        towers=dict(
            model_type='siglip',
            vision_config=dict(
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
                image_size=224,
                patch_size=16,
            ),
            text_config=dict(
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
                vocab_size=32000,
                max_position_embeddings=64,
                pad_token_id=1,
                bos_token_id=None,
                eos_token_id=1,
            ),
        ),
        dim=union_dim,
        num_heads=12,
    ),
    mask_prompt_generator=dict(dim=union_dim),
)
