# RefSegRS exactly as released: the hard boundary loss.
_base_ = ['rs2sam2_refsegrs.py']
losses = [
    dict(one, hard=True) if one.type == 'TextGuidedBoundaryLoss' else one for one in _base_.model.decode_head.losses
]
model = dict(decode_head=dict(losses=losses))
