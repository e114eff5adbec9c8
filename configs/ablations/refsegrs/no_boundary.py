# No boundary loss; the paper has no such row.
_base_ = ['../../rs2sam2_refsegrs.py']
model = dict(
    decode_head=dict(
        losses=[
            dict(type='ReferringCrossEntropyLoss', class_weight=(0.9, 1.1), loss_weight=0.9),
            dict(type='ReferringDiceLoss', loss_weight=0.1),
        ],
    ),
)
