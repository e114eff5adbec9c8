# The mask prompt generator without its cross-attention.
_base_ = ['full.py']
model = dict(mask_prompt_generator=dict(cross_attention=False))
