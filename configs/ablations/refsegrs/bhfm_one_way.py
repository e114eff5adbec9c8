# The image reads the text in every block, the text never the image. Paper: mIoU 70.10.
_base_ = ['../../rs2sam2_refsegrs.py']
model = dict(neck=dict(update_text=False))
