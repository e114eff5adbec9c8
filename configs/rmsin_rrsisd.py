# RMSIN on RRSIS-D as released. 4 GPUs: tools/dist_train.sh configs/rmsin_rrsisd.py 4
_base_ = [
    '_base_/default_runtime.py',
    '_base_/models/rmsin_b.py',
    '_base_/datasets/rrsisd_480.py',
    '_base_/schedules/adamw_poly.py',
]
randomness = dict(seed=2401)
train_pipeline = [*_base_.load, _base_.boxes, *_base_.train_pipeline[len(_base_.load) :]]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))
default_hooks = dict(checkpoint=dict(save_best='rrsis/oIoU'))
test_evaluator = dict(
    published=dict(
        _delete_=True,
        name='RMSIN, RRSIS-D test',
        protocol=480,
        values={
            'Pr@0.5': 74.26, 'Pr@0.6': 67.25, 'Pr@0.7': 55.93, 'Pr@0.8': 42.55, 'Pr@0.9': 24.53,
            'oIoU': 77.79, 'mIoU': 64.20,
        },
    ),
)  # fmt: skip
