# One view of 480 px, the first 20 of BERT's tokens, scored at the view's size: as LAVT's and RMSIN's release do.
_base_ = ['refsegrs.py']
size = 480
tokenizer = dict(type='HFTokenizer', path='pretrained/bert-base-uncased', vocab_size=30522, pad_id=0)
resize = dict(type='ResizeView', size=size)
tokenize = dict(type='TokenizeExpression', tokenizer=tokenizer, max_length=20, keep_last=False)
train_pipeline = [*_base_.load, resize, tokenize, dict(type='PackRefSegInputs')]
test_pipeline = [*_base_.load, dict(resize, resize_mask=False), tokenize, dict(type='PackRefSegInputs')]
train_dataloader = dict(drop_last=True, dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_evaluator = dict(protocol=size)
test_evaluator = dict(protocol=size, published=None)
