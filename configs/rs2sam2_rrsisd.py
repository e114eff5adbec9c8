# RRSIS-D as in the paper: lr 1e-5, 5e-5 for the fusion parts, a tenth of both in the last 10 of 40 epochs.
# 8 GPUs: tools/dist_train.sh configs/rs2sam2_rrsisd.py 8
_base_ = [
    '_base_/default_runtime.py',
    '_base_/models/rs2sam2_l.py',
    '_base_/datasets/rrsisd.py',
    '_base_/schedules/adamw_bf16.py',
]
optim_wrapper = dict(optimizer=dict(lr=1e-5), paramwise_cfg=dict(fusion_lr_mult=5.0))
