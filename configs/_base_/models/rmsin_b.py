# RMSIN as released: LAVT with a branch in every stage, cross-scale interaction and rotated convolutions.
_base_ = ['lavt_b.py']
model = dict(
    type='RMSIN',
    backbone=dict(visual_branch=dict(type='VariousReceptiveBranch')),
    neck=dict(type='CrossScaleInteraction'),
    decode_head=dict(
        refine_cfg=dict(type='AdaptiveRotatedConv2d', num_kernels=1, dropout=0.2),
        losses=[
            dict(type='ReferringCrossEntropyLoss', class_weight=(0.9, 1.1), loss_weight=0.9, whole_batch=True),
            # Summed over the samples of a GPU, of which the release had two. With other numbers of samples
            # loss_weight=0.2 and the mean keep the balance.
            dict(type='ReferringDiceLoss', loss_weight=0.1, reduction='sum'),
        ],
    ),
)
