"""mmengine's runner with its loading of weights made strict and safe."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.model import is_model_wrapper
from mmengine.runner import CheckpointLoader, Runner
from torch import nn

from rs2sam2.conversion.loading import adapter_of, plan_loading
from rs2sam2.engine.checkpoint import load_pickle, open_state_dict
from rs2sam2.errors import CheckpointError, ConfigError

TRAINING_STATE = ('meta', 'message_hub')


class StrictRunner(Runner):
    """A `Runner` that reads weights with this project's loader only and loads them strictly.

    `load_from` may be a checkpoint of our own, what `convert.py` made, or a published file or folder as it is: the
    names tell. mmengine's own ways around are closed: its unsafe fallback for pickles, remote files, and the lenient
    `init_cfg=dict(type='Pretrained')`.
    """

    def __init__(self, *args, **kwargs) -> None:
        # Every scheme, known by its prefix: '', 'http://', 'torchvision://', ...
        for prefix in tuple(CheckpointLoader._schemes):
            CheckpointLoader.register_scheme(prefix, _load_for_mmengine, force=True)
        super().__init__(*args, **kwargs)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model; raises `ConfigError` where a part asks for mmengine's lenient loading."""
        model = super().build_model(model)
        for name, module in model.named_modules():
            init_cfg = getattr(module, 'init_cfg', None) or ()
            for cfg in [init_cfg] if isinstance(init_cfg, dict) else init_cfg:
                if 'Pretrained' in str(cfg.get('type')):
                    raise ConfigError(
                        f"model.{name}: init_cfg type 'Pretrained' skips what does not fit, use 'OfficialWeights' "
                        'or load_from'
                    )
        return model

    @torch.no_grad()
    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable = 'cpu',
        strict: bool = True,
        revise_keys: list | None = None,
    ) -> dict:
        """Load weights into the model, all of them and no others.

        Args:
            filename: a checkpoint of our own, a converted file, or a published file or folder.
            map_location: device of what is read, as in `torch.load`.
            strict: must stay True; mmengine's signature.
            revise_keys: must stay None; mmengine's signature. Names are translated by the adapters.

        Returns:
            The checkpoint, its `state_dict` under our names.

        Raises:
            CheckpointError: the file is missing, damaged, unsafe or does not fit the model.
            ConfigError: lenient loading is asked for.
        """
        if not strict or revise_keys:
            raise ConfigError('StrictRunner loads whole checkpoints only: leave strict and revise_keys as they are')
        model = self.model.module if is_model_wrapper(self.model) else self.model
        file = open_state_dict(filename, map_location)
        adapter = adapter_of(file, model)
        if not adapter.whole:
            raise CheckpointError(
                f'{filename} holds {adapter.title} weights, a part of this model: name it in '
                f"init_cfg=dict(type='OfficialWeights', source='{adapter.source}', checkpoint=...)"
            )
        plan, _ = plan_loading(model, adapter, file)
        # Copied, since an optimizer keeps what it is given, and the mapped file may be overwritten later.
        checkpoint = {**copy.deepcopy(file.content), 'state_dict': dict(plan.tensors())}
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        own = model.state_dict()
        for name, tensor in checkpoint['state_dict'].items():
            own[name].copy_(tensor)
        self._has_loaded = True
        return checkpoint

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: str | Callable = 'default',
    ) -> None:
        """Go on from a checkpoint of our own training; the arguments are mmengine's.

        Raises:
            CheckpointError: as `load_checkpoint`, or the file holds weights only.
        """
        content = open_state_dict(filename).content
        missing = [key for key in TRAINING_STATE if key not in content]
        if missing or 'epoch' not in content['meta']:
            raise CheckpointError(
                f'{filename} holds weights but no training state ({", ".join(missing) or "meta.epoch"}): start from it '
                'with load_from, not --resume'
            )
        super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)


def _load_for_mmengine(filename: str, map_location: str | Callable | None = None) -> dict:
    """What mmengine's own code (hooks that read checkpoints back) gets instead of its loader."""
    return load_pickle(Path(filename), 'cpu' if map_location is None else map_location)
