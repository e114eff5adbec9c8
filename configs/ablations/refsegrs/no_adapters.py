# no_adapters on RefSegRS; paper: mIoU 61.08..
_base_ = ['../../rs2sam2_refsegrs.py', '../../_base_/ablations/no_adapters.py']
model = _base_.ablation
