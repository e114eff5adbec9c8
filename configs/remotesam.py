# RemoteSAM (arXiv 2505.18022): RMSIN at 896 px, trained by its authors on 270,000 expressions.
# As released: python tools/test.py configs/remotesam.py pretrained/RemoteSAMv1.pth; trained on, it starts from there.
_base_ = ['rmsin_rrsisd.py']
size = 896
model = dict(
    image_size=size,
    init_cfg=dict(_delete_=True, type='OfficialWeights', source='rmsin', checkpoint='pretrained/RemoteSAMv1.pth'),
)
train_pipeline = [dict(step, size=size) if step['type'] == 'ResizeView' else step for step in _base_.train_pipeline]
test_pipeline = [dict(step, size=size) if step['type'] == 'ResizeView' else step for step in _base_.test_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_evaluator = dict(protocol=size)
test_evaluator = dict(protocol=size, published=None)
