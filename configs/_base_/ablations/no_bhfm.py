# No fusion in the backbone; prompts, gate and boundary loss stay.
ablation = dict(neck=None)
