# One GPU with less memory: every block keeps its input only and computes the rest again in the backward pass.
_base_ = ['rs2sam2_rrsisd_1gpu.py']
model = dict(backbone=dict(checkpoint_stages=(0, 1, 2, 3)), union_encoder=dict(checkpointing=True))
