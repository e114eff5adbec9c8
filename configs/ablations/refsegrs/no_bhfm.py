# No fusion in the backbone; prompts, gate and boundary loss stay. Paper: mIoU 60.20.
_base_ = ['../../rs2sam2_refsegrs.py']
model = dict(
    neck=None,
)
