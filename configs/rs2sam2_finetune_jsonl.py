# Fine-tunes a checkpoint on one's own JSON lines, on one GPU (docs/your_data.md):
# python tools/train.py configs/rs2sam2_finetune_jsonl.py --cfg-options load_from=pretrained/rs2sam2_rrsisd
_base_ = [
    '_base_/default_runtime.py',
    '_base_/models/rs2sam2_l.py',
    '_base_/datasets/jsonl.py',
    '_base_/schedules/adamw_bf16.py',
]
# A released model, a converted one, or a checkpoint of our own.
load_from = 'pretrained/rs2sam2_rrsisd'
model = dict(
    init_cfg=None,
    decode_head=dict(
        losses=[
            *_base_.model.decode_head.losses,
            # The release never trained its scores: these two do.
            dict(type='IoUScoreLoss', loss_weight=0.05),
            dict(type='PresenceLoss', loss_weight=0.05),
        ]
    ),
)
# The paper's rates for RRSIS-D; the effective batch of its 8 GPUs on one.
optim_wrapper = dict(optimizer=dict(lr=1e-5), paramwise_cfg=dict(fusion_lr_mult=5.0), accumulative_counts=8)
train_cfg = dict(max_epochs=20)
param_scheduler = [dict(type='MultiStepLR', milestones=[15], gamma=0.1, by_epoch=True)]
