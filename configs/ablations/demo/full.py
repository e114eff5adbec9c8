# The demo's model at the budget of its ablations: python tools/analysis_tools/ablate.py configs/ablations/demo/*.py
_base_ = ['../../rs2sam2_tiny_demo.py']
train_cfg = dict(max_epochs=2, val_interval=2)
