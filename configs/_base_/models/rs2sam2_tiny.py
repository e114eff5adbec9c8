# The same components as the full model, small enough to train from scratch on a CPU.
text_dim = 128
model = dict(
    type='RS2SAM2',
    text_dim=text_dim,
    data_preprocessor=dict(type='RefSegDataPreProcessor', vocab_size=175, max_text_length=62),
    union_encoder=dict(
        type='BEiT3UnionEncoder',
        arch=dict(dim=128, depth=4, num_heads=4),
        image_size=128,
        vocab_size=175,
        max_text_length=62,
    ),
    backbone=dict(
        type='SAM2Hiera',
        arch=dict(
            embed_dim=32, num_heads=1, stages=(1, 2, 3, 1), global_blocks=(4, 5), windows=(8, 4, 8, 4), background=7
        ),
        out_channels=text_dim,
    ),
    neck=dict(type='BidirectionalHierarchicalFusion', text_dim=text_dim),
    mask_prompt_generator=dict(type='MaskPromptGenerator', dim=128),
    decode_head=dict(
        type='SAM2Head',
        image_size=256,
        dim=text_dim,
        mlp_dim=256,
        text_gate=dict(type='TextGate', dim=text_dim),
        losses=[
            dict(type='ReferringCrossEntropyLoss', class_weight=(0.9, 1.1), loss_weight=0.9),
            dict(type='ReferringDiceLoss', loss_weight=0.1),
            dict(type='TextGuidedBoundaryLoss', text_dim=text_dim, hard=False, loss_weight=0.2),
            dict(type='PseudoMaskLoss', loss_weight=1.0),
            dict(type='IoUScoreLoss', loss_weight=0.05),
            dict(type='PresenceLoss', loss_weight=0.05),
        ],
    ),
)
