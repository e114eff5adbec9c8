"""The shipped full-size config takes a training step through the Runner on one machine of 24 GB."""

import subprocess
import sys

import pytest

from helpers.paths import ROOT
from rs2sam2.synthetic.dataset import build_demo_dataset

# Measured in a process of its own: the peak of this one would hold whatever other tests needed.
SCRIPT = """
import resource, runpy, sys
sys.argv = ['train.py', *sys.argv[1:]]
runpy.run_path('{root}/tools/train.py', run_name='__main__')
print('peak GB', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


@pytest.mark.slow
def test_one_training_iteration_of_the_full_config_inside_24_gb(tmp_path):
    build_demo_dataset(tmp_path / 'data', dict(train=1, val=1, test=1), size=800, no_target_share=0)
    options = [
        'model.init_cfg=None', f'train_dataloader.dataset.data_root={tmp_path}/data', 'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False', 'train_dataloader.dataset.indices=1',
        f'train_dataloader.dataset.pipeline.4.tokenizer.path={tmp_path}/data/tokenizer',
        'train_dataloader.dataset.pipeline.4.tokenizer.num_pieces=165', 'val_dataloader=None', 'val_evaluator=None',
        'val_cfg=None', 'train_cfg.max_epochs=1', 'default_hooks.checkpoint=None', 'default_hooks.logger.interval=1',
        'custom_hooks=[]', 'param_scheduler=[]',
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', SCRIPT.format(root=ROOT), str(ROOT / 'configs/rs2sam2_rrsisd.py'),
         '--work-dir', str(tmp_path / 'out'), '--cfg-options', *options],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    log = done.stdout + done.stderr
    assert done.returncode == 0, log[-3000:]
    assert 'loss_boundary' in log
    peak = float(log.split('peak GB')[1])
    assert peak < 24


@pytest.mark.slow
@pytest.mark.gpu
def test_one_training_iteration_in_bf16_on_a_gpu(tmp_path):
    import torch

    if not torch.cuda.is_available():
        pytest.skip('no GPU here')
    from tiny import random_batch, random_target, tiny_model

    model = tiny_model().cuda()
    batch = type(random_batch())(*(field.cuda() for field in random_batch()))
    with torch.autocast('cuda', torch.bfloat16):
        features = model.extract_feat(batch)
        prediction = model.decode_head(features.pyramid, features.text, model.prompt(features.union))
        losses = model.decode_head.loss(prediction, features.text, random_target(3).cuda())
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
