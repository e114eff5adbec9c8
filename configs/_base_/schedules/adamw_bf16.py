# AdamW on everything that trains, weight decay on everything, no clipping; 8 GPUs x batch 1.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='bfloat16',
    # bfloat16 has the range of float32.
    loss_scale=dict(enabled=False),
    constructor='RefSegOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=5e-5, weight_decay=1e-2, fused=True),
    paramwise_cfg=dict(fusion_lr_mult=2.0),
)
train_cfg = dict(type='ResumableTrainLoop', max_epochs=40, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [dict(type='MultiStepLR', milestones=[30], gamma=0.1, by_epoch=True)]
auto_scale_lr = dict(enable=False, base_batch_size=8)
