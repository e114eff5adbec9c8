# no_boundary on the embedded scenes.
_base_ = ['full.py', '../../_base_/ablations/no_boundary.py']
model = _base_.ablation
model.decode_head.losses = [one for one in _base_.model.decode_head.losses if one.type not in _base_.losses_off]
