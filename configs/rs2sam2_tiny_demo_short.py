# What `make demo` trains in two minutes: the same model on a fifth of the sentences, validated after each of 4 passes.
_base_ = ['rs2sam2_tiny_demo.py']
train_dataloader = dict(dataset=dict(indices=1900))
train_cfg = dict(max_epochs=4, val_interval=1)
