# LAVT's components, small enough to train from scratch on a CPU; the text encoder reads the embedded tokenizer's ids.
model = dict(
    type='LAVT',
    image_size=96,
    # As in rs2sam2_tiny.py; words stand before a norm here.
    init_cfg=dict(type='Xavier', layer='Linear', distribution='uniform'),
    data_preprocessor=dict(type='RefSegDataPreProcessor', pad_id=1, vocab_size=175, max_text_length=62),
    text_encoder=dict(
        type='BertTextEncoder',
        bert=dict(
            hidden_size=96,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=4,
            vocab_size=175,
            max_position_embeddings=62,
            pad_token_id=1,
        ),
    ),
    backbone=dict(
        type='LanguageAwareSwin',
        arch=dict(embed_dims=32, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8)),
        window_size=6,
        drop_path_rate=0.0,
    ),
    decode_head=dict(
        type='LAVTHead',
        dim=96,
        losses=[
            dict(type='ReferringCrossEntropyLoss', class_weight=(0.9, 1.1), loss_weight=1.0),
            dict(type='ReferringDiceLoss', loss_weight=1.0),
        ],
    ),
)
