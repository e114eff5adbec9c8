# sparse_only on RefSegRS; paper: mIoU 36.64..
_base_ = ['../../rs2sam2_refsegrs.py', '../../_base_/ablations/sparse_only.py']
model = _base_.ablation
model.decode_head.losses = [one for one in _base_.model.decode_head.losses if one.type not in _base_.losses_off]
