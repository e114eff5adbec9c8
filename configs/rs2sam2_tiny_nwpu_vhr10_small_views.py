# The first training of rs2sam2_tiny_nwpu_vhr10_plus.py, at a quarter of the pixels: many updates in little time.
# 20 processor minutes: python tools/train.py configs/rs2sam2_tiny_nwpu_vhr10_small_views.py
_base_ = ['rs2sam2_tiny_nwpu_vhr10.py']
# 64,000 pieces are 70 % of the weights and a quarter of each step; the embedded model's 165 spell what they lack.
tokenize = dict(
    type='TokenizeExpression', tokenizer=dict(type='RefSegTokenizer', path='data/demo/tokenizer', num_pieces=165)
)
turn = dict(type='RandomTurn', top='on the top')
resize = dict(type='ResizeTwoViews', size=96, union_size=64)
train_pipeline = [*_base_.load, turn, resize, tokenize, dict(type='PackRefSegInputs')]
test_pipeline = [*_base_.load, dict(resize, resize_mask=False), tokenize, dict(type='PackRefSegInputs')]
# Sentences that mean every object of a kind use the objects that no sentence tells from their like.
train_dataloader = dict(dataset=dict(several='keep', pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
model = dict(
    data_preprocessor=dict(vocab_size=175),
    union_encoder=dict(image_size=64, vocab_size=175),
    decode_head=dict(image_size=96),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=18, val_interval=6)
