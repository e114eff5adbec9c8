# Beyond the paper (docs/training.md) on RefSegRS: words that turn with the picture, averaged weights, a cosine.
# Not trained by us. 8 GPUs: tools/dist_train.sh configs/rs2sam2_refsegrs_plus.py 8
_base_ = ['rs2sam2_refsegrs.py']
train_pipeline = [*_base_.load, dict(type='RandomTurn'), *_base_.train_pipeline[len(_base_.load) :]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
# About the last 1,000 of 16,000 iterations.
custom_hooks = [*_base_.custom_hooks, dict(type='EMAHook', momentum=0.001, strict_load=True)]
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=500, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min_ratio=0.01, by_epoch=True, convert_to_iter_based=True),
]
