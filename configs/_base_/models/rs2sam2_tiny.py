# The same components as the full model, small enough to train from scratch on a CPU.
text_dim, union_dim = 128, 96
model = dict(
    type='RS2SAM2',
    # Starting values for training without pretrained weights: words and positions as loud as what they are added to.
    init_cfg=[
        dict(type='Xavier', layer='Linear', distribution='uniform'),
        dict(type='Normal', layer='Embedding', std=0.3),
    ],
    text_dim=text_dim,
    data_preprocessor=dict(type='RefSegDataPreProcessor', vocab_size=175, max_text_length=62),
    union_encoder=dict(
        type='BEiT3UnionEncoder',
        init_cfg=dict(type='GridPositions'),
        arch=dict(dim=union_dim, depth=3, num_heads=4),
        image_size=64,
        patch_size=8,
        vocab_size=175,
        max_text_length=62,
    ),
    backbone=dict(
        type='SAM2Hiera',
        arch=dict(
            embed_dim=24, num_heads=1, stages=(1, 1, 2, 1), global_blocks=(3, 4), windows=(8, 4, 8, 4), background=7
        ),
        out_channels=text_dim,
    ),
    neck=dict(type='BidirectionalHierarchicalFusion', text_dim=text_dim, num_heads=2),
    mask_prompt_generator=dict(type='MaskPromptGenerator', dim=union_dim),
    decode_head=dict(
        type='SAM2Head',
        image_size=96,
        dim=text_dim,
        mlp_dim=256,
        text_gate=dict(type='TextGate', dim=text_dim),
        losses=[
            dict(type='ReferringCrossEntropyLoss', class_weight=(0.9, 1.1), loss_weight=1.0),
            dict(type='ReferringDiceLoss', loss_weight=1.0),
            dict(type='TextGuidedBoundaryLoss', text_dim=text_dim, hard=False, loss_weight=0.2),
            dict(type='PseudoMaskLoss', loss_weight=1.0),
            dict(type='IoUScoreLoss', loss_weight=0.05),
            dict(type='PresenceLoss', loss_weight=0.05),
        ],
    ),
)
