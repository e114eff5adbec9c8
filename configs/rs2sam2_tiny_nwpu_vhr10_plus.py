# Beyond the paper (docs/training.md) on NWPU VHR-10, from nothing else: what rs2sam2_tiny_nwpu_vhr10_small_views.py has
# learned goes on at full views; words turn with the picture. docs/data.md has both commands and what they reach.
_base_ = ['rs2sam2_tiny_nwpu_vhr10_from_demo.py']
model = dict(
    init_cfg=[
        dict(
            type='OfficialWeights',
            source='rs2sam2',
            checkpoint='pretrained/nwpu_small_views.safetensors',
            resize_positions=True,
        )
    ],
)
train_dataloader = dict(dataset=dict(several='keep'))
train_cfg = dict(max_epochs=5, val_interval=1)
