# Beyond the paper (docs/training.md) on NWPU VHR-10: words that turn with the picture, more and smaller steps.
# Two CPU cores, about an hour (not measured): tools/dist_train.sh configs/rs2sam2_tiny_nwpu_vhr10_plus.py 2
_base_ = ['rs2sam2_tiny_nwpu_vhr10.py']
turn = dict(type='RandomTurn', top='on the top')
train_pipeline = [*_base_.load, turn, *_base_.train_pipeline[len(_base_.load) :]]
train_dataloader = dict(batch_size=3, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=45, val_interval=5)
