# LAVT on RefSegRS by the same recipe; nobody says how its published numbers on this set were trained.
_base_ = [
    '_base_/default_runtime.py',
    '_base_/models/lavt_b.py',
    '_base_/datasets/refsegrs_480.py',
    '_base_/schedules/adamw_poly.py',
]
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=5e-5))
auto_scale_lr = dict(base_batch_size=32)
default_hooks = dict(checkpoint=dict(save_best='rrsis/oIoU'))
