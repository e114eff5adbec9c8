# RRSIS-D exactly as released: lr 5e-5 and 1e-4, never lowered; hard boundary loss.
_base_ = ['rs2sam2_rrsisd.py']
model = dict(
    decode_head=dict(
        losses=[
            dict(type='ReferringCrossEntropyLoss', class_weight=(0.9, 1.1), loss_weight=0.9),
            dict(type='ReferringDiceLoss', loss_weight=0.1),
            dict(type='TextGuidedBoundaryLoss', hard=True, loss_weight=0.2),
        ]
    )
)
optim_wrapper = dict(optimizer=dict(lr=5e-5), paramwise_cfg=dict(fusion_lr_mult=2.0))
param_scheduler = []
