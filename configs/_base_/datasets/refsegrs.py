_base_ = ['two_views.py']
data_root = 'data/refsegrs'
dataset = dict(type='RefSegRSDataset', data_root=data_root)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dataset)
val_evaluator = dict(protocol='published_1024')
test_evaluator = dict(
    protocol='published_1024',
    breakdown=('size', 'position_words', 'sentence_length'),
    published=dict(
        name='RS2-SAM2, RefSegRS test',
        values={
            'Pr@0.5': 84.31, 'Pr@0.6': 79.42, 'Pr@0.7': 70.89, 'Pr@0.8': 55.70, 'Pr@0.9': 21.19,
            'oIoU': 80.87, 'mIoU': 73.90,
        },
    ),
)  # fmt: skip
