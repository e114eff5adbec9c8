data_root = 'data/rrsisd'
tokenizer = dict(type='RefSegTokenizer', path='pretrained/beit3.spm', num_pieces=64000)
load = [dict(type='LoadRGBImage'), dict(type='LoadReferringMask')]
train_pipeline = [
    *load,
    dict(type='RandomBlackBoxes', share=0.2, count=(20, 60), size=32),
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
    dataset=dict(type='RRSISDDataset', data_root=data_root, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RRSISDDataset', data_root=data_root, split='val', test_mode=True, pipeline=test_pipeline),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='RRSISDDataset', data_root=data_root, split='test', test_mode=True, pipeline=test_pipeline),
)
val_evaluator = dict(type='RRSISMetric', protocol='published_1024')
test_evaluator = dict(
    type='RRSISMetric',
    protocol='published_1024',
    breakdown=('category', 'size', 'position_words'),
    published=dict(
        name='RS2-SAM2, RRSIS-D test',
        values={
            'Pr@0.5': 77.56, 'Pr@0.6': 72.34, 'Pr@0.7': 61.76, 'Pr@0.8': 47.92, 'Pr@0.9': 29.73,
            'oIoU': 78.99, 'mIoU': 66.72,
        },
    ),
)  # fmt: skip
