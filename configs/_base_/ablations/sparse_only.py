# The baseline: vanilla SAM2 with a union encoder, sparse prompt only.
ablation = dict(neck=None, mask_prompt_generator=None, decode_head=dict(text_gate=None, dense_prompt=False))
losses_off = ['PseudoMaskLoss', 'TextGuidedBoundaryLoss']
