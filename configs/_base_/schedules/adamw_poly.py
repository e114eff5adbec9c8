# LAVT's and RMSIN's release: AdamW in fp32, one learning rate that falls to 0 as a power of what is left, no clipping.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='RefSegOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=3e-5, weight_decay=1e-2, fused=True),
    # Swin's norms and tables of positions; batch norms decay, as does all else.
    paramwise_cfg=dict(fusion=(), no_decay=('backbone.*norm*', 'backbone.*relative_position_bias_table')),
)
train_cfg = dict(type='ResumableTrainLoop', max_epochs=40, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [dict(type='PolynomialLR', power=0.9, by_epoch=True, convert_to_iter_based=True)]
# Statistics of the batch norms are those of all GPUs.
sync_bn = 'torch'
auto_scale_lr = dict(enable=False, base_batch_size=8)
