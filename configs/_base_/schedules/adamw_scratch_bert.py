# With BERT beside it: its norms stand behind the sums, and at the others' learning rate all its words become one.
_base_ = ['adamw_scratch.py']
optim_wrapper = dict(paramwise_cfg=dict(fusion=('text_encoder.',), fusion_lr_mult=0.1))
