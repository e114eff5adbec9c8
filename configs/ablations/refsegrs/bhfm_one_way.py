# bhfm_one_way on RefSegRS; paper: mIoU 70.10..
_base_ = ['../../rs2sam2_refsegrs.py', '../../_base_/ablations/bhfm_one_way.py']
model = _base_.ablation
