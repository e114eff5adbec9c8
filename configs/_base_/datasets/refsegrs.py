data_root = 'data/refsegrs'
tokenizer = dict(type='RefSegTokenizer', path='pretrained/beit3.spm', num_pieces=64000)
load = [dict(type='LoadRGBImage'), dict(type='LoadReferringMask')]
train_pipeline = [
    *load,
    dict(type='ResizeTwoViews', size=1024, union_size=224),
    dict(type='TokenizeExpression', tokenizer=tokenizer, max_length=512),
    dict(type='PackRefSegInputs'),
]
test_pipeline = [
    *load,
    dict(type='ResizeTwoViews', size=1024, union_size=224, resize_mask=False),
    dict(type='TokenizeExpression', tokenizer=tokenizer),
    dict(type='PackRefSegInputs'),
]
train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='RefSegRSDataset', data_root=data_root, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RefSegRSDataset', data_root=data_root, split='val', test_mode=True, pipeline=test_pipeline),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RefSegRSDataset', data_root=data_root, split='test', test_mode=True, pipeline=test_pipeline),
)
val_evaluator = dict(type='RRSISMetric', protocol='published_1024')
test_evaluator = dict(
    type='RRSISMetric',
    protocol='published_1024',
    breakdown=('size', 'position_words'),
    published=dict(
        name='RS2-SAM2, RefSegRS test',
        values={
            'Pr@0.5': 84.31, 'Pr@0.6': 79.42, 'Pr@0.7': 70.89, 'Pr@0.8': 55.70, 'Pr@0.9': 21.19,
            'oIoU': 80.87, 'mIoU': 73.90,
        },
    ),
)  # fmt: skip
