# no_gate on RefSegRS; paper: mIoU 67.61..
_base_ = ['../../rs2sam2_refsegrs.py', '../../_base_/ablations/no_gate.py']
model = _base_.ablation
