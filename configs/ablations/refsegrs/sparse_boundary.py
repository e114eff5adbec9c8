# The baseline with the boundary loss. Paper: mIoU 38.63.
_base_ = ['../../rs2sam2_refsegrs.py']
model = dict(
    neck=None,
    mask_prompt_generator=None,
    decode_head=dict(
        text_gate=None,
        dense_prompt=False,
    ),
)
