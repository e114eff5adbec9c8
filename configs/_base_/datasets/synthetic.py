# The embedded data set that tools/demo.py draws: RRSIS-D's layout, its own small tokenizer.
data_root = 'data/demo'
size, union_size = 96, 64
# These are not RRSIS-D's own scenes: none of its published counts.
metainfo = dict(split_counts={})
tokenizer = dict(type='RefSegTokenizer', path=f'{data_root}/tokenizer', num_pieces=165)
load = [dict(type='LoadRGBImage'), dict(type='LoadReferringMask')]
train_pipeline = [
    *load,
    dict(type='ResizeTwoViews', size=size, union_size=union_size),
    dict(type='TokenizeExpression', tokenizer=tokenizer),
    dict(type='PackRefSegInputs'),
]
test_pipeline = [
    *load,
    dict(type='ResizeTwoViews', size=size, union_size=union_size, resize_mask=False),
    dict(type='TokenizeExpression', tokenizer=tokenizer),
    dict(type='PackRefSegInputs'),
]
train_dataloader = dict(
    batch_size=6,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='RRSISDDataset',
        data_root=data_root,
        metainfo=metainfo,
        split='train',
        no_target='keep',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='RRSISDDataset',
        data_root=data_root,
        metainfo=metainfo,
        split='val',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=16,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='RRSISDDataset',
        data_root=data_root,
        metainfo=metainfo,
        split='test',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
val_evaluator = dict(type='RRSISMetric', protocol='native')
test_evaluator = dict(type='RRSISMetric', protocol='native', breakdown=('category', 'size', 'position_words'))
