# sparse_boundary on RefSegRS; paper: mIoU 38.63..
_base_ = ['../../rs2sam2_refsegrs.py', '../../_base_/ablations/sparse_boundary.py']
model = _base_.ablation
model.decode_head.losses = [one for one in _base_.model.decode_head.losses if one.type not in _base_.losses_off]
