# What all data sets share: an image in two sizes, the tokens of its expression, one sample a process and step.
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
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(split='val', test_mode=True, pipeline=test_pipeline),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=4,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(split='test', test_mode=True, pipeline=test_pipeline),
)
val_evaluator = dict(type='RRSISMetric', protocol='native')
test_evaluator = dict(
    type='RRSISMetric', protocol='native', breakdown=('category', 'size', 'position_words', 'sentence_length')
)
