# Every component of RS2-SAM2, tiny, from scratch, on the real images of NWPU VHR-10; two CPU cores:
# tools/dist_train.sh configs/rs2sam2_tiny_nwpu_vhr10.py 2
_base_ = [
    '_base_/default_runtime.py',
    '_base_/models/rs2sam2_tiny.py',
    '_base_/datasets/nwpu_vhr10.py',
    '_base_/schedules/adamw_scratch.py',
]
model = dict(
    data_preprocessor=dict(vocab_size=64010),
    union_encoder=dict(image_size=96, vocab_size=64010),
    decode_head=dict(image_size=192),
)
train_cfg = dict(max_epochs=15, val_interval=3)
