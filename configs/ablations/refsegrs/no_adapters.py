# No adapters beside the backbone's MLPs. Paper: mIoU 61.08.
_base_ = ['../../rs2sam2_refsegrs.py']
model = dict(neck=dict(adapters=False))
