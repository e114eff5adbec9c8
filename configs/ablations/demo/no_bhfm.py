# No fusion in the backbone; prompts, gate and boundary loss stay.
_base_ = ['full.py']
model = dict(
    neck=None,
)
