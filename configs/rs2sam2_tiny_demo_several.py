# The second training of the model `demo`: sentences that mean every object of a kind, and kinds of which there is none.
# It starts from what rs2sam2_tiny_demo.py left: tools/demo.py --train runs both.
_base_ = ['rs2sam2_tiny_demo.py']
train_dataloader = dict(dataset=dict(several='keep'))
optim_wrapper = dict(optimizer=dict(lr=6e-4))
train_cfg = dict(max_epochs=2, val_interval=2)
# Windows as large as the pictures that it learned from; they are asked for all objects of a kind.
scene = dict(window=160, several=True)
