# Beyond the paper (docs/training.md) on the embedded scenes: words that turn with the picture.
# It brought no gain on these scenes, 200 or all 2,000 of them (docs/ablations.md).
# Two CPU processes: tools/dist_train.sh configs/rs2sam2_tiny_demo_plus.py 2
_base_ = ['rs2sam2_tiny_demo.py']
turn = dict(type='RandomTurn', top='on the top')
train_pipeline = [*_base_.load, turn, *_base_.train_pipeline[len(_base_.load) :]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
