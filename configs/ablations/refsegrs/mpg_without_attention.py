# The mask prompt generator without its cross-attention. Paper: mIoU 71.59.
_base_ = ['../../rs2sam2_refsegrs.py']
model = dict(mask_prompt_generator=dict(cross_attention=False))
