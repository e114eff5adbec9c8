# The paper's baseline: vanilla SAM2 with a union encoder, trained on RRSIS-D from EVF-SAM2's weights, with one mask.
_base_ = ['evf_sam2_l.py']
model = dict(
    decode_head=dict(multimask=False),
    init_cfg=dict(type='OfficialWeights', source='evf-sam2', checkpoint='pretrained/evf-sam2'),
)
optim_wrapper = dict(optimizer=dict(lr=1e-5))
