# no_bhfm on the embedded scenes.
_base_ = ['full.py', '../../_base_/ablations/no_bhfm.py']
model = _base_.ablation
