# no_boundary on RefSegRS; the paper has no such row.
_base_ = ['../../rs2sam2_refsegrs.py', '../../_base_/ablations/no_boundary.py']
model = _base_.ablation
model.decode_head.losses = [one for one in _base_.model.decode_head.losses if one.type not in _base_.losses_off]
