# no_adapters on the embedded scenes.
_base_ = ['full.py', '../../_base_/ablations/no_adapters.py']
model = _base_.ablation
