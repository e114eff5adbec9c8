# NWPU VHR-10 (10 classes, 520 images) with expressions made from its masks (docs/data.md):
# python tools/dataset_converters/coco2rrsis.py instances_train.json images data/nwpu_vhr10_rrsis \
#     --no-target-share 0.1 --never-absent vehicle --several 3
_base_ = ['small_views.py']
data_root = 'data/nwpu_vhr10_rrsis'
metainfo = dict(
    dataset_name='NWPU VHR-10',
    about='some 300 aerial photographs, 10 kinds of objects, sentences made from their masks',
    published_at='docs/data.md says how it is made',
)
resize = dict(type='ResizeTwoViews', size=192, union_size=96)
tokenize = dict(type='TokenizeExpression', tokenizer=_base_.tokenizer)
train_pipeline = [*_base_.load, resize, tokenize, dict(type='PackRefSegInputs')]
test_pipeline = [*_base_.load, dict(resize, resize_mask=False), tokenize, dict(type='PackRefSegInputs')]
train_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=test_pipeline))
