# NWPU VHR-10 from the embedded model, which learned on drawn scenes; words turn with the picture (docs/data.md).
# After make demo: python tools/model_converters/convert.py demo pretrained/demo.safetensors --source rs2sam2 \
#     --to-official --config configs/rs2sam2_tiny_demo.py
_base_ = ['rs2sam2_tiny_nwpu_vhr10.py']
# The embedded model's own words: "diamond", which it has not, is spelled.
tokenize = dict(
    type='TokenizeExpression',
    tokenizer=dict(type='RefSegTokenizer', path='data/demo/tokenizer', num_pieces=165),
)
turn = dict(type='RandomTurn', top='on the top')
train_pipeline = [*_base_.load, turn, _base_.resize, tokenize, dict(type='PackRefSegInputs')]
test_pipeline = [*_base_.load, dict(_base_.resize, resize_mask=False), tokenize, dict(type='PackRefSegInputs')]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
model = dict(
    # Positions of 8 x 8 patches are resized to 12 x 12.
    init_cfg=[
        dict(
            type='OfficialWeights',
            source='rs2sam2',
            checkpoint='pretrained/demo.safetensors',
            resize_positions=True,
        )
    ],
    data_preprocessor=dict(vocab_size=175),
    union_encoder=dict(init_cfg=None, vocab_size=175),
)
optim_wrapper = dict(optimizer=dict(lr=7e-4))
train_cfg = dict(max_epochs=6, val_interval=2)
