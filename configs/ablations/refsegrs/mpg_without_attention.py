# mpg_without_attention on RefSegRS; paper: mIoU 71.59..
_base_ = ['../../rs2sam2_refsegrs.py', '../../_base_/ablations/mpg_without_attention.py']
model = _base_.ablation
