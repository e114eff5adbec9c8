# RS2-SAM2 with SigLIP Base (patch 16, 224 px) in BEiT-3's place; SAM 2.0 Hiera Large at 1024 px.
half = (0.5, 0.5, 0.5)
union_dim = 768
model = dict(
    type='RS2SAM2',
    # Where training starts; `--cfg-options model.init_cfg=None` trains from scratch.
    init_cfg=[
        dict(type='OfficialWeights', source='siglip', checkpoint='pretrained/siglip-base-patch16-224'),
        dict(type='OfficialWeights', source='sam2', checkpoint='pretrained/sam2_hiera_large.pt'),
    ],
    data_preprocessor=dict(
        type='RefSegDataPreProcessor',
        union_mean=half,
        union_std=half,
        pad_id=1,
        vocab_size=32000,
        max_text_length=64,
    ),
    union_encoder=dict(
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
    backbone=dict(type='SAM2Hiera', arch='large', frozen=True),
    neck=dict(type='BidirectionalHierarchicalFusion'),
    mask_prompt_generator=dict(type='MaskPromptGenerator', dim=union_dim),
    decode_head=dict(
        type='SAM2Head',
        image_size=1024,
        # The weights start from SAM2's, which have learned points and boxes.
        point_prompts=True,
        text_gate=dict(type='TextGate'),
        losses=[
            dict(type='ReferringCrossEntropyLoss', class_weight=(0.9, 1.1), loss_weight=0.9),
            dict(type='ReferringDiceLoss', loss_weight=0.1),
            dict(type='TextGuidedBoundaryLoss', hard=False, loss_weight=0.2),
        ],
    ),
)
