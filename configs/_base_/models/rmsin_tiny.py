# RMSIN's components, small enough to train from scratch on a CPU.
_base_ = ['lavt_tiny.py']
model = dict(
    type='RMSIN',
    backbone=dict(visual_branch=dict(type='VariousReceptiveBranch')),
    neck=dict(type='CrossScaleInteraction', num_heads=4, key_dim=16),
    decode_head=dict(refine_cfg=dict(type='AdaptiveRotatedConv2d')),
)
