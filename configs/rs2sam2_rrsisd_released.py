# RRSIS-D exactly as released: lr 5e-5 and 1e-4, never lowered; hard boundary loss.
_base_ = ['rs2sam2_rrsisd.py']
losses = [
    dict(one, hard=True) if one.type == 'TextGuidedBoundaryLoss' else one for one in _base_.model.decode_head.losses
]
model = dict(decode_head=dict(losses=losses))
optim_wrapper = dict(optimizer=dict(lr=5e-5), paramwise_cfg=dict(fusion_lr_mult=2.0))
param_scheduler = []
