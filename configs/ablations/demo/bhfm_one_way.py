# The image reads the text in every block, the text never the image.
_base_ = ['full.py']
model = dict(neck=dict(update_text=False))
