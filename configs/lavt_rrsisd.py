# LAVT on RRSIS-D by its release's recipe. 4 GPUs: tools/dist_train.sh configs/lavt_rrsisd.py 4
_base_ = [
    '_base_/default_runtime.py',
    '_base_/models/lavt_b.py',
    '_base_/datasets/rrsisd_480.py',
    '_base_/schedules/adamw_poly.py',
]
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=5e-5))
auto_scale_lr = dict(base_batch_size=32)
default_hooks = dict(checkpoint=dict(save_best='rrsis/oIoU'))
test_evaluator = dict(
    published=dict(
        _delete_=True,
        name='LAVT, RRSIS-D test',
        protocol=480,
        values={
            'Pr@0.5': 69.52, 'Pr@0.6': 63.63, 'Pr@0.7': 53.29, 'Pr@0.8': 41.60, 'Pr@0.9': 24.94,
            'oIoU': 77.19, 'mIoU': 61.04,
        },
    ),
)  # fmt: skip
