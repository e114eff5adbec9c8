"""What our model holds under which name, without building it in memory."""

from collections.abc import Mapping
from math import isqrt

import torch
from mmseg.registry import MODELS
from torch import nn

from rs2sam2.errors import CheckpointError
from rs2sam2.models.lavt.swin import ARCHITECTURES as SWIN_ARCHITECTURES
from rs2sam2.models.rmsin.cross_scale import STRIDE
from rs2sam2.models.rs2sam2.beit3 import ARCHITECTURES as UNION_ARCHITECTURES
from rs2sam2.models.rs2sam2.hiera import ARCHITECTURES as BACKBONE_ARCHITECTURES
from rs2sam2.weights.adapters.adapter import POSITION_PREFIX, Adapter
from rs2sam2.weights.files import StateDictFile, TensorSpec

TEXT_TABLE = 'union_encoder.text_embed.weight'
POSITIONS = 'union_encoder.positions.vision.weight'
PATCHES = 'union_encoder.vision_embed.proj.weight'
STEM = 'backbone.trunk.patch_embed.proj.weight'
BLOCKS = 'backbone.trunk.blocks.'
SWIN_STEM = 'backbone.patch_embed.projection.weight'
SWIN_BLOCKS = 'backbone.stages.2.blocks.'
SWIN_TABLE = f'{SWIN_BLOCKS}0.attn.w_msa.relative_position_bias_table'
GATHER = 'neck.blocks.0.0.module.attention.gather.weight'


def module_specs(module: nn.Module, prefix: str = '') -> dict[str, TensorSpec]:
    """Shape and dtype of every entry of a module's state dict."""
    return {prefix + name: TensorSpec(tuple(t.shape), t.dtype) for name, t in module.state_dict().items()}


def config_specs(adapter: Adapter, model: dict) -> dict[str, TensorSpec]:
    """What a model config holds in the parts that a source fills; nothing is allocated."""
    with torch.device('meta'):
        specs = module_specs(MODELS.build(model))
    return {name: spec for name, spec in specs.items() if adapter.fills(name)}


def loaded_specs(adapter: Adapter, module: nn.Module) -> tuple[dict[str, TensorSpec], str]:
    """What a source is to fill in a segmentor, or in one component that stands alone.

    Returns:
        Specs under our full names, and the prefix that the module's own names lack.

    Raises:
        CheckpointError: the module has no part that the source fills.
    """
    specs = module_specs(module)
    if any(name.startswith(adapter.components) for name in specs):
        return {name: spec for name, spec in specs.items() if adapter.fills(name)}, ''
    for component in adapter.components:
        if all(adapter.table.to_official(component + name) or adapter.why_new(component + name) for name in specs):
            return module_specs(module, component), component
    raise CheckpointError(f'{type(module).__name__} has no part that {adapter.title} weights fill')


def fit_architecture(model: dict, adapter: Adapter, source: StateDictFile, official: bool) -> None:
    """Set architectures and sizes of views in a model config to those of a file, as its widths and depths show.

    Args:
        model: model config, changed in place.
        adapter: the source.
        source: the open file.
        official: whether its names are the source's, not ours.
    """
    shapes = {
        ours: spec.shape
        for name, spec in source.specs.items()
        if (ours := adapter.table.to_ours(adapter.strip(name)) if official else name) is not None
    }
    if (arch := _union_arch(shapes)) is not None:
        model['union_encoder']['arch'] = arch
    if POSITIONS in shapes and PATCHES in shapes:
        cells = shapes[POSITIONS][0] - POSITION_PREFIX
        if cells > 0 and isqrt(cells) ** 2 == cells:
            model['union_encoder']['image_size'] = isqrt(cells) * shapes[PATCHES][-1]
    if (arch := _backbone_arch(shapes) or _swin_arch(shapes)) is not None:
        model['backbone']['arch'] = arch
    if SWIN_TABLE in shapes:
        model['backbone']['window_size'] = (isqrt(shapes[SWIN_TABLE][0]) + 1) // 2
    if GATHER in shapes:
        model['image_size'] = STRIDE * isqrt(shapes[GATHER][0])


def _union_arch(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    width = shapes.get(TEXT_TABLE, (0, 0))[-1]
    return next((arch for arch, numbers in UNION_ARCHITECTURES.items() if numbers['dim'] == width), None)


def _backbone_arch(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    width = shapes.get(STEM, (0,))[0]
    # Tiny and small share their width.
    fitting = {arch: sum(n['stages']) for arch, n in BACKBONE_ARCHITECTURES.items() if n['embed_dim'] == width}
    return _nearest(fitting, _depth(shapes, BLOCKS))


def _swin_arch(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    width = shapes.get(SWIN_STEM, (0,))[0]
    fitting = {arch: n['depths'][2] for arch, n in SWIN_ARCHITECTURES.items() if n['embed_dims'] == width}
    return _nearest(fitting, _depth(shapes, SWIN_BLOCKS))


def _depth(shapes: Mapping[str, tuple[int, ...]], blocks: str) -> int:
    """One more than the highest number after a prefix that ends in a dot."""
    numbers = (name[len(blocks) :].split('.')[0] for name in shapes if name.startswith(blocks))
    return 1 + max(map(int, numbers), default=0)


def _nearest(fitting: Mapping[str, int], depth: int) -> str | None:
    return min(fitting, key=lambda arch: abs(fitting[arch] - depth), default=None)
