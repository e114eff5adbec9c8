# The baseline with the boundary loss.
ablation = dict(neck=None, mask_prompt_generator=None, decode_head=dict(text_gate=None, dense_prompt=False))
losses_off = ['PseudoMaskLoss']
