# One's own data, a JSON object a line (docs/your_data.md): data/mine/train.jsonl, val.jsonl, test.jsonl.
_base_ = ['two_views.py']
data_root = 'data/mine'
dataset = dict(type='JSONLRefSegDataset', data_root=data_root)
# Sentences that mean nothing teach the presence score; RRSISMetric does not score them, so the others drop them.
train_dataloader = dict(dataset=dict(**dataset, no_target='keep'))
val_dataloader = test_dataloader = dict(dataset=dict(**dataset, no_target='drop'))
