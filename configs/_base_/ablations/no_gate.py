# No text gate before the mask decoder.
ablation = dict(decode_head=dict(text_gate=None))
