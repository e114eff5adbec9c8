custom_imports = dict(imports=['rs2sam2'], allow_failed_imports=False)
default_scope = 'mmseg'
runner_type = 'StrictRunner'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
randomness = dict(seed=0)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=True),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='DurableCheckpointHook',
        by_epoch=True,
        interval=1,
        every_iters=1000,
        max_keep_ckpts=2,
        save_best='rrsis/mIoU+oIoU',
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='RefSegVisualizationHook'),
)
custom_hooks = [dict(type='StopAtNonfiniteHook'), dict(type='CurvesHook')]
visualizer = dict(type='RefSegVisualizer', vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
