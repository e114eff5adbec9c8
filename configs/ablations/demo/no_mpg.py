# No mask prompt generator: sparse prompt only, fusion and gate stay.
_base_ = ['full.py']
model = dict(
    mask_prompt_generator=None,
    decode_head=dict(
        dense_prompt=False,
        losses=[
            dict(type='ReferringCrossEntropyLoss', class_weight=(0.9, 1.1), loss_weight=1.0),
            dict(type='ReferringDiceLoss', loss_weight=1.0),
            dict(type='TextGuidedBoundaryLoss', text_dim=128, hard=False, loss_weight=0.2),
            dict(type='IoUScoreLoss', loss_weight=0.05),
            dict(type='PresenceLoss', loss_weight=0.05),
        ],
    ),
)
