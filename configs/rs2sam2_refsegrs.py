# RefSegRS as in the paper: lr 5e-5, 1e-4 for the fusion parts, a tenth of both in the last 10 of 60 epochs.
# 8 GPUs: tools/dist_train.sh configs/rs2sam2_refsegrs.py 8
_base_ = [
    '_base_/default_runtime.py',
    '_base_/models/rs2sam2_l.py',
    '_base_/datasets/refsegrs.py',
    '_base_/schedules/adamw_bf16.py',
]
train_cfg = dict(max_epochs=60)
param_scheduler = [dict(type='MultiStepLR', milestones=[50], gamma=0.1, by_epoch=True)]
