# No mask prompt generator: sparse prompt only, fusion and gate stay. Paper: mIoU 68.71.
_base_ = ['../../rs2sam2_refsegrs.py']
model = dict(
    mask_prompt_generator=None,
    decode_head=dict(
        dense_prompt=False,
    ),
)
