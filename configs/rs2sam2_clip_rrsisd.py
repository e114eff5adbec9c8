# RRSIS-D with CLIP ViT-B/16 as union encoder; else as rs2sam2_siglip_rrsisd.py.
_base_ = ['rs2sam2_siglip_rrsisd.py']
model = dict(
    init_cfg=[
        dict(type='OfficialWeights', source='clip', checkpoint='pretrained/clip-vit-base-patch16'),
        dict(type='OfficialWeights', source='sam2', checkpoint='pretrained/sam2_hiera_large.pt'),
    ],
    data_preprocessor=dict(
        union_mean=(0.48145466, 0.4578275, 0.40821073),
        union_std=(0.26862954, 0.26130258, 0.27577711),
        pad_id=49407,
        vocab_size=49408,
        max_text_length=77,
    ),
    union_encoder=dict(
        towers=dict(
            _delete_=True,
            model_type='clip',
            vision_config=dict(
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
                image_size=224,
                patch_size=16,
            ),
            text_config=dict(
                hidden_size=512,
                intermediate_size=2048,
                num_hidden_layers=12,
                num_attention_heads=8,
                vocab_size=49408,
                max_position_embeddings=77,
                pad_token_id=49407,
                bos_token_id=49406,
                eos_token_id=49407,
            ),
        )
    ),
)
tokenizer = dict(type='HFTokenizer', path='pretrained/clip-vit-base-patch16', vocab_size=49408, pad_id=49407)
tokenize = dict(type='TokenizeExpression', tokenizer=tokenizer)
cut = dict(tokenize, max_length=77)
train_pipeline = [cut if step['type'] == 'TokenizeExpression' else step for step in _base_.train_pipeline]
test_pipeline = [tokenize if step['type'] == 'TokenizeExpression' else step for step in _base_.test_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
