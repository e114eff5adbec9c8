# Linear layers of the other side's mean in place of the fusion's attentions. Paper: mIoU 68.19.
_base_ = ['../../rs2sam2_refsegrs.py']
model = dict(neck=dict(reader='linear'))
