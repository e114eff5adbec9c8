# No text gate before the mask decoder. Paper: mIoU 67.61.
_base_ = ['../../rs2sam2_refsegrs.py']
model = dict(decode_head=dict(text_gate=None))
