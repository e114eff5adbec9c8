# The mask prompt generator without its cross-attention.
ablation = dict(mask_prompt_generator=dict(cross_attention=False))
