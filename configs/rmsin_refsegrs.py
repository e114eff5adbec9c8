# RMSIN on RefSegRS by the same recipe, without the black boxes, which are RRSIS-D's; nobody says how its published
# numbers on this set were trained.
_base_ = ['rmsin_rrsisd.py']
data_root = 'data/refsegrs'
dataset = dict(type='RefSegRSDataset', data_root=data_root)
train_pipeline = [step for step in _base_.train_pipeline if step['type'] != 'RandomBlackBoxes']
train_dataloader = dict(dataset=dict(**dataset, pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dataset)
test_evaluator = dict(breakdown=('size', 'position_words', 'sentence_length'), published=None)
tta = dict(top='at the top')
