# No boundary loss.
ablation = dict(decode_head=dict())
losses_off = ['TextGuidedBoundaryLoss']
