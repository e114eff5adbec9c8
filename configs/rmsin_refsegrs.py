# RMSIN on RefSegRS by the same recipe, without the black boxes, which are RRSIS-D's; nobody says how its published
# numbers on this set were trained.
_base_ = [
    '_base_/default_runtime.py',
    '_base_/models/rmsin_b.py',
    '_base_/datasets/refsegrs_480.py',
    '_base_/schedules/adamw_poly.py',
]
randomness = dict(seed=2401)
train_dataloader = dict(batch_size=2)
default_hooks = dict(checkpoint=dict(save_best='rrsis/oIoU'))
