# The embedded data set for a model of one view.
_base_ = ['synthetic.py']
resize = dict(type='ResizeView', size=96)
train_pipeline = [*_base_.load, resize, _base_.tokenize, dict(type='PackRefSegInputs')]
test_pipeline = [*_base_.load, dict(resize, resize_mask=False), _base_.tokenize, dict(type='PackRefSegInputs')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
