# The image reads the text in every block, the text never the image.
ablation = dict(neck=dict(update_text=False))
