# No mask prompt generator: sparse prompt only, fusion and gate stay.
ablation = dict(mask_prompt_generator=None, decode_head=dict(dense_prompt=False))
losses_off = ['PseudoMaskLoss']
