# The baseline: vanilla SAM2 with a union encoder, sparse prompt only.
_base_ = ['full.py']
model = dict(
    neck=None,
    mask_prompt_generator=None,
    decode_head=dict(
        text_gate=None,
        dense_prompt=False,
        losses=[
            dict(type='ReferringCrossEntropyLoss', class_weight=(0.9, 1.1), loss_weight=1.0),
            dict(type='ReferringDiceLoss', loss_weight=1.0),
            dict(type='IoUScoreLoss', loss_weight=0.05),
            dict(type='PresenceLoss', loss_weight=0.05),
        ],
    ),
)
