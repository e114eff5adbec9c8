# Beyond the paper (docs/training.md) on NWPU VHR-10: words that turn with the picture, averaged weights, more
# and smaller steps. Two CPU cores, an hour: tools/dist_train.sh configs/rs2sam2_tiny_nwpu_vhr10_plus.py 2
_base_ = ['rs2sam2_tiny_nwpu_vhr10.py']
turn = dict(type='RandomTurn', top='on the top')
train_pipeline = [*_base_.load, turn, *_base_.train_pipeline[len(_base_.load) :]]
train_dataloader = dict(batch_size=3, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', momentum=0.002, strict_load=True)]
train_cfg = dict(max_epochs=45, val_interval=5)
