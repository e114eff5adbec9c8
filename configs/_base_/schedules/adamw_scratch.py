# A small model from scratch: one learning rate, warm-up, cosine, clipping; 2 processes x batch 6.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='RefSegOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1.5e-3, weight_decay=1e-2),
    clip_grad=dict(max_norm=5.0),
)
train_cfg = dict(type='ResumableTrainLoop', max_epochs=5, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=60, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, convert_to_iter_based=True),
]
auto_scale_lr = dict(enable=False, base_batch_size=12)
