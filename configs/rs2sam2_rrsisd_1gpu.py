# One GPU with the effective batch of 8 GPUs: python tools/train.py configs/rs2sam2_rrsisd_1gpu.py
_base_ = ['rs2sam2_rrsisd.py']
optim_wrapper = dict(accumulative_counts=8)
