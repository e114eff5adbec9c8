_base_ = ['two_views.py']
data_root = 'data/rrsisd'
boxes = dict(type='RandomBlackBoxes', share=0.2, count=(20, 60), size=32)
train_pipeline = [*_base_.load, boxes, *_base_.train_pipeline[len(_base_.load) :]]
dataset = dict(type='RRSISDDataset', data_root=data_root)
train_dataloader = dict(dataset=dict(**dataset, pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dataset)
val_evaluator = dict(protocol='published_1024')
test_evaluator = dict(
    protocol='published_1024',
    published=dict(
        name='RS2-SAM2, RRSIS-D test',
        values={
            'Pr@0.5': 77.56, 'Pr@0.6': 72.34, 'Pr@0.7': 61.76, 'Pr@0.8': 47.92, 'Pr@0.9': 29.73,
            'oIoU': 78.99, 'mIoU': 66.72,
        },
    ),
)  # fmt: skip
# How test-time augmentation (tools/test.py --tta) says where an object is: as the data does.
tta = dict(top='on the top')
# RRSIS-D's images: 800 px, 0.5 to 30 m a pixel (arXiv 2312.12470).
scene = dict(window=800, trained_gsd=(0.5, 30.0))
