# One small GPU: low-rank updates of the union encoder instead of all its weights and their AdamW states.
# Merge afterwards: python tools/model_converters/merge_lora.py configs/rs2sam2_rrsisd_1gpu_lora.py CHECKPOINT DST
_base_ = ['rs2sam2_rrsisd_1gpu_checkpointed.py']
model = dict(union_encoder=dict(train='lora'))
