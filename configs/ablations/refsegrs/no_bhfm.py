# no_bhfm on RefSegRS; paper: mIoU 60.20..
_base_ = ['../../rs2sam2_refsegrs.py', '../../_base_/ablations/no_bhfm.py']
model = _base_.ablation
