# EVF-SAM2 (arXiv 2406.20076): SAM2 with a union encoder; sparse prompt only, the best of SAM2's three masks.
half = (0.5, 0.5, 0.5)
model = dict(
    type='RS2SAM2',
    data_preprocessor=dict(type='RefSegDataPreProcessor', union_mean=half, union_std=half),
    union_encoder=dict(type='BEiT3UnionEncoder', arch='large', image_size=224, mask_unknown=False),
    backbone=dict(type='SAM2Hiera', arch='large', frozen=True),
    decode_head=dict(
        type='SAM2Head',
        image_size=1024,
        # The weights start from SAM2's, which have learned points and boxes.
        point_prompts=True,
        dense_prompt=False,
        multimask=True,
        two_channel=False,
        losses=[
            dict(type='ReferringCrossEntropyLoss', class_weight=(0.9, 1.1), loss_weight=0.9),
            dict(type='ReferringDiceLoss', loss_weight=0.1),
        ],
    ),
)
