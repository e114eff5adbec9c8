# RS2-SAM2 as published: BEiT-3 Large at 224 px, SAM 2.0 Hiera Large at 1024 px.
model = dict(
    type='RS2SAM2',
    # Where training starts; `--cfg-options model.init_cfg=None` trains from scratch.
    init_cfg=[
        dict(type='OfficialWeights', source='beit3', checkpoint='pretrained/beit3_large_patch16_224.pth'),
        dict(type='OfficialWeights', source='sam2', checkpoint='pretrained/sam2_hiera_large.pt'),
    ],
    data_preprocessor=dict(type='RefSegDataPreProcessor'),
    union_encoder=dict(type='BEiT3UnionEncoder', arch='large', image_size=224),
    backbone=dict(type='SAM2Hiera', arch='large', frozen=True),
    neck=dict(type='BidirectionalHierarchicalFusion'),
    mask_prompt_generator=dict(type='MaskPromptGenerator', dim=1024),
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
