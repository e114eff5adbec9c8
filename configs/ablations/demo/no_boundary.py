# No boundary loss.
_base_ = ['full.py']
model = dict(
    decode_head=dict(
        losses=[
            dict(type='ReferringCrossEntropyLoss', class_weight=(0.9, 1.1), loss_weight=1.0),
            dict(type='ReferringDiceLoss', loss_weight=1.0),
            dict(type='PseudoMaskLoss', loss_weight=1.0),
            dict(type='IoUScoreLoss', loss_weight=0.05),
            dict(type='PresenceLoss', loss_weight=0.05),
        ],
    ),
)
