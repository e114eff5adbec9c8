# bhfm_linear on RefSegRS; paper: mIoU 68.19..
_base_ = ['../../rs2sam2_refsegrs.py', '../../_base_/ablations/bhfm_linear.py']
model = _base_.ablation
