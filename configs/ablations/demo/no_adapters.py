# No adapters beside the backbone's MLPs.
_base_ = ['full.py']
model = dict(neck=dict(adapters=False))
