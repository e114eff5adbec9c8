# Small images in RRSIS-D's layout, for a model that learns from scratch on two CPU processes.
# Who inherits it says where they are and how large the views.
_base_ = ['two_views.py']
# These are not RRSIS-D's own images: none of its published counts.
dataset = dict(type='RRSISDDataset', metainfo=dict(split_counts={}))
train_dataloader = dict(
    batch_size=6,
    num_workers=1,
    # A last batch of one or two samples would move all weights as far as six do.
    drop_last=True,
    dataset=dict(**dataset, no_target='keep'),
)
val_dataloader = dict(batch_size=16, num_workers=1, persistent_workers=False, dataset=dataset)
test_dataloader = dict(batch_size=16, num_workers=1, dataset=dataset)
# How test-time augmentation (tools/test.py --tta) says where an object is: as the data does.
tta = dict(top='on the top')
