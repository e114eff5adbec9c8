# bhfm_one_way on the embedded scenes.
_base_ = ['full.py', '../../_base_/ablations/bhfm_one_way.py']
model = _base_.ablation
