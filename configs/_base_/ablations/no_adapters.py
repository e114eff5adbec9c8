# No adapters beside the backbone's MLPs.
ablation = dict(neck=dict(adapters=False))
