"""Stops training at a loss or gradient that is NaN or infinite, before it reaches the weights."""

import math

import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from rs2sam2.errors import TrainingError


class StopAtNonfiniteHook(Hook):
    """Stops all processes and names the samples when a loss or the gradient of an update is not finite.

    The gradient is looked at just before the optimizer uses it, when the host has nothing else to give the GPU; a bad
    one is thrown away, so that the weights and the optimizer stay as they were. The losses are those that mmengine
    has fetched for its log. So a step costs one more wait for the GPU, at its end, and one number summed over the
    processes. Where a gradient scaler skips bad updates (float16), only losses are looked at.
    """

    priority = 'HIGH'

    def before_train(self, runner: Runner) -> None:
        """Watch the optimizer's steps."""
        self._window: list[tuple[str, list[str]]] = []
        self._bad_gradient = False
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        if scaler is None or not scaler.is_enabled():
            runner.optim_wrapper.optimizer.register_step_pre_hook(self._drop_nonfinite)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict, outputs: dict) -> None:
        """Stop, where the window of gradients that ends here held something bad.

        Raises:
            TrainingError: on every process, with the samples of those that saw it.
        """
        loss = outputs['loss'].item()
        ids = [str(sample.get('sample_id', sample.get('img_path'))) for sample in data_batch['data_samples']]
        self._window.append((str(loss), ids))
        if not runner.optim_wrapper.should_update():
            return
        window, self._window = self._window, []
        bad_losses = [(loss, ids) for loss, ids in window if not math.isfinite(float(loss))]
        flag = torch.tensor(float(self._bad_gradient or bool(bad_losses)))
        all_reduce(flag, 'max')
        if not flag.item():
            return
        seen = all_gather_object((bad_losses, window))
        guilty = [f'{loss} on rank {rank} for {_some(ids)}' for rank, (bad, _) in enumerate(seen) for loss, ids in bad]
        what = f'the loss is {"; ".join(guilty)}'
        if not guilty:
            everybody = [one for _, whole in seen for _, ids in whole for one in ids]
            what = f'the gradient is not finite, though every loss is, for {_some(everybody)}'
        raise TrainingError(
            f'epoch {runner.epoch + 1}, iteration {runner.iter + 1}: {what}; the weights were left as they were and '
            'nothing was saved: check these samples, or lower the learning rate (--cfg-options '
            'optim_wrapper.optimizer.lr=...) and --resume'
        )

    def _drop_nonfinite(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
        # Not the maximum, which the empty part of a sharded gradient does not have.
        norm = get_total_norm(gradients, norm_type=1.0)
        if hasattr(norm, 'full_tensor'):
            norm = norm.full_tensor()
        if not torch.isfinite(norm):
            self._bad_gradient = True
            # An optimizer passes over parameters without a gradient.
            optimizer.zero_grad(set_to_none=True)


def _some(ids: list[str]) -> str:
    return f'sample{"s" if len(ids) > 1 else ""} {", ".join(ids[:16])}{", ..." if len(ids) > 16 else ""}'
