# mpg_without_attention on the embedded scenes.
_base_ = ['full.py', '../../_base_/ablations/mpg_without_attention.py']
model = _base_.ablation
