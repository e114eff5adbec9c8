# bhfm_linear on the embedded scenes.
_base_ = ['full.py', '../../_base_/ablations/bhfm_linear.py']
model = _base_.ablation
