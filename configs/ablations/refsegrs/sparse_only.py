# The baseline: vanilla SAM2 with a union encoder, sparse prompt only. Paper: mIoU 36.64.
_base_ = ['../../rs2sam2_refsegrs.py']
model = dict(
    neck=None,
    mask_prompt_generator=None,
    decode_head=dict(
        text_gate=None,
        dense_prompt=False,
        losses=[
            dict(type='ReferringCrossEntropyLoss', class_weight=(0.9, 1.1), loss_weight=0.9),
            dict(type='ReferringDiceLoss', loss_weight=0.1),
        ],
    ),
)
