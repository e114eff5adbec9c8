# LAVT on RefSegRS by the same recipe; nobody says how its published numbers on this set were trained.
_base_ = ['lavt_rrsisd.py']
data_root = 'data/refsegrs'
dataset = dict(type='RefSegRSDataset', data_root=data_root)
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dataset)
test_evaluator = dict(breakdown=('size', 'position_words', 'sentence_length'), published=None)
tta = dict(top='at the top')
