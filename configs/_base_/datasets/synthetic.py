# The embedded data set that tools/demo.py draws: RRSIS-D's layout, its own small tokenizer.
_base_ = ['small_views.py']
data_root = 'data/demo'
metainfo = dict(
    dataset_name='drawn scenes',
    about='small pictures drawn by code, no photograph among them',
    published_at='make demo draws them, tools/dataset_converters/make_synthetic_scenes.py too',
)
tokenizer = dict(type='RefSegTokenizer', path=f'{data_root}/tokenizer', num_pieces=165)
resize = dict(type='ResizeTwoViews', size=96, union_size=64)
tokenize = dict(type='TokenizeExpression', tokenizer=tokenizer)
train_pipeline = [*_base_.load, resize, tokenize, dict(type='PackRefSegInputs')]
test_pipeline = [*_base_.load, dict(resize, resize_mask=False), tokenize, dict(type='PackRefSegInputs')]
train_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=test_pipeline))
