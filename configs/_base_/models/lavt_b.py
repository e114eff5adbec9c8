# LAVT as released: Swin Base with windows of 12 at 480 px, BERT Base.
model = dict(
    type='LAVT',
    image_size=480,
    # Where training starts; `--cfg-options model.init_cfg=None` trains from scratch.
    init_cfg=[
        dict(type='OfficialWeights', source='swin', checkpoint='pretrained/swin_base_patch4_window12_384_22k.pth'),
        dict(type='OfficialWeights', source='bert', checkpoint='pretrained/bert-base-uncased'),
    ],
    data_preprocessor=dict(type='RefSegDataPreProcessor', pad_id=0, vocab_size=30522, max_text_length=512),
    # As released; how far bf16 changes the masks was not measured.
    test_cfg=dict(precision='fp32'),
    # BERT's embeddings and last two layers were in no group of the release's optimizer.
    text_encoder=dict(type='BertTextEncoder', learning_layers=10),
    backbone=dict(type='LanguageAwareSwin', arch='base', window_size=12, drop_path_rate=0.3),
    decode_head=dict(
        type='LAVTHead',
        dim=512,
        losses=[
            dict(type='ReferringCrossEntropyLoss', class_weight=(0.9, 1.1), loss_weight=1.0, whole_batch=True),
        ],
    ),
)
