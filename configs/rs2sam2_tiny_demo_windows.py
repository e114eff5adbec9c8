# The third training of the model `demo`: what windows of a scene are asked, most of it of kinds that they do not show.
# It starts from what rs2sam2_tiny_demo_several.py left: tools/demo.py --train runs all four.
_base_ = ['rs2sam2_tiny_demo_several.py']
known = _base_.train_dataloader.dataset
known = dict(known, metainfo=dict(known['metainfo'], published_at='make demo-train draws them'))
windows = dict(known, data_root='data/demo_windows')
# What it knows already is a quarter of it, so that nothing is forgotten.
known = [dict(known, several='drop'), dict(known, several='only')]
train_dataloader = dict(batch_size=12, dataset=dict(_delete_=True, type='ConcatDataset', datasets=[*known, windows]))
# Dice without smoothing has no gradient where there is nothing to find, and what is wrongly found there costs little.
entropy, dice, boundary, pseudo, iou, presence = _base_.model.decode_head.losses
losses = [entropy, dict(dice, eps=30.0), boundary, dict(pseudo, eps=0.3), iou, dict(presence, loss_weight=0.3)]
model = dict(decode_head=dict(losses=losses))
optim_wrapper = dict(optimizer=dict(lr=1.2e-3))
train_cfg = dict(max_epochs=5, val_interval=5)
