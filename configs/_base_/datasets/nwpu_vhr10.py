# NWPU VHR-10 (10 classes, 520 images) with expressions made from its masks (docs/data.md):
# python tools/dataset_converters/coco2rrsis.py instances_train.json images data/nwpu_vhr10_rrsis \
#     --no-target-share 0.1 --never-absent vehicle
data_root = 'data/nwpu_vhr10_rrsis'
size, union_size = 192, 96
# These are not RRSIS-D's own images: none of its published counts.
metainfo = dict(split_counts={})
tokenizer = dict(type='RefSegTokenizer', path='pretrained/beit3.spm', num_pieces=64000)
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
