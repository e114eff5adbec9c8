# no_gate on the embedded scenes.
_base_ = ['full.py', '../../_base_/ablations/no_gate.py']
model = _base_.ablation
