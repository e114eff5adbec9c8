# RRSIS-D with SigLIP Base as union encoder: rs2sam2_rrsisd.py's schedule, SigLIP's tokenizer.
_base_ = [
    '_base_/default_runtime.py',
    '_base_/models/rs2sam2_siglip_b.py',
    '_base_/datasets/rrsisd.py',
    '_base_/schedules/adamw_bf16.py',
]
tokenizer = dict(type='HFTokenizer', path='pretrained/siglip-base-patch16-224', vocab_size=32000, pad_id=1)
tokenize = dict(type='TokenizeExpression', tokenizer=tokenizer)
cut = dict(tokenize, max_length=64)
train_pipeline = [cut if step['type'] == 'TokenizeExpression' else step for step in _base_.train_pipeline]
test_pipeline = [tokenize if step['type'] == 'TokenizeExpression' else step for step in _base_.test_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
optim_wrapper = dict(optimizer=dict(lr=1e-5), paramwise_cfg=dict(fusion_lr_mult=5.0))
