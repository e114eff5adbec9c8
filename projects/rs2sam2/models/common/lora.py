"""Low-rank adaptation of a union encoder by peft (LoRA, https://arxiv.org/abs/2106.09685)."""

import torch
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from rs2sam2.errors import ConfigError

# What peft calls the layer that it wraps; our state dicts leave it out, so that weights keep their names.
_WRAPPED = '.base_layer.'


def add_lora(module: nn.Module, r: int = 16, alpha: float = 32) -> None:
    """Give every linear layer of a module a low-rank update that starts at zero; all else is frozen.

    The output layer of an `nn.MultiheadAttention` gets none: the attention reads its weight and never calls it.

    The state dict keeps the names of the plain module and holds the updates beside them, as
    `<layer>.lora_A.default.weight` and `<layer>.lora_B.default.weight`.

    Args:
        module: what is adapted, in place.
        r: rank of the updates.
        alpha: the updates count alpha / r times.

    Raises:
        ConfigError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ConfigError("train='lora' needs peft: pip install 'rs2sam2[lora]'") from error
    layers = [
        name
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and not isinstance(layer, NonDynamicallyQuantizableLinear)
    ]
    config = LoraConfig(r=r, lora_alpha=alpha, target_modules=layers)  # type: ignore[arg-type]  # peft computes with floats too
    inject_adapter_in_model(config, module)
    module.register_state_dict_post_hook(_to_plain_names)
    module.register_load_state_dict_pre_hook(_to_wrapped_names)


@torch.no_grad()
def merge_lora(module: nn.Module) -> None:
    """Add the updates to the weights and leave plain layers, in place; a module without updates stays as it is."""
    for name, layer in list(module.named_modules()):
        if hasattr(layer, 'base_layer'):
            layer.merge(safe_merge=True)
            parent, _, child = name.rpartition('.')
            setattr(module.get_submodule(parent), child, layer.get_base_layer())


def _to_plain_names(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, local_metadata: dict) -> None:
    for name in [name for name in state_dict if name.startswith(prefix) and _WRAPPED in name]:
        state_dict[name.replace(_WRAPPED, '.')] = state_dict.pop(name)


def _to_wrapped_names(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_: object) -> None:
    for name, layer in module.named_modules():
        if hasattr(layer, 'base_layer'):
            for kind in ('weight', 'bias'):
                if (plain := f'{prefix}{name}.{kind}') in state_dict:
                    state_dict[f'{prefix}{name}{_WRAPPED}{kind}'] = state_dict.pop(plain)
