# The vanilla-SAM2 baseline on RRSIS-D. As released: python tools/test.py configs/evf_sam2_l.py pretrained/evf-sam2
_base_ = [
    '_base_/default_runtime.py',
    '_base_/models/evf_sam2_l.py',
    '_base_/datasets/rrsisd.py',
    '_base_/schedules/adamw_bf16.py',
]
# Of the released weights (arXiv 2406.20076); a checkpoint of one's own says itself what it learned from.
trained_on = 'RefCOCO and other referring data sets: photographs from the ground, none from above'
