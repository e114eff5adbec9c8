# Weights, gradients and optimizer states divided among the GPUs, blocks computed again in the backward pass
# (docs/performance.md): tools/dist_train.sh configs/rs2sam2_rrsisd_sharded.py 8
_base_ = ['rs2sam2_rrsisd.py']
model_wrapper_cfg = dict(type='FullyShardedModel')
# Without, autocast would keep a bf16 copy of every gathered weight until the backward pass.
model = dict(backbone=dict(checkpoint_stages=(0, 1, 2, 3)), union_encoder=dict(checkpointing=True))
