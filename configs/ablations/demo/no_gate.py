# No text gate before the mask decoder.
_base_ = ['full.py']
model = dict(decode_head=dict(text_gate=None))
