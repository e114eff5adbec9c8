# The last training of the model `demo`: other windows, from what rs2sam2_tiny_demo_windows.py left.
_base_ = ['rs2sam2_tiny_demo_windows.py']
windows = dict(_base_.windows, data_root='data/demo_more_windows')
train_dataloader = dict(dataset=dict(datasets=[*_base_.known, windows]))
optim_wrapper = dict(optimizer=dict(lr=8e-4))
train_cfg = dict(max_epochs=4, val_interval=4)
