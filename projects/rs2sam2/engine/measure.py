"""What the measuring tools share: models with random weights, random batches, FLOPs, peaks of memory and products."""

import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from sam2.modeling.backbones.hieradet import Hiera
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from rs2sam2.engine.launch import load_config
from rs2sam2.errors import ConfigError
from rs2sam2.models.protocol import ReferringSegmentor
from rs2sam2.models.rs2sam2.hiera import ARCHITECTURES
from rs2sam2.structures import ReferringBatch, RefSegDataSample

# What `--tiny` measures: the smallest shipped model, its backbone changed to one that the yardstick can be, too.
TINY_CONFIG = 'configs/rs2sam2_tiny_demo.py'
TINY_OPTIONS = {'model.backbone.arch.global_blocks': (3,)}
# Side of the square product whose speed counts as the device's peak.
PEAK_SIDE = {'cuda': 8192, 'cpu': 4096}


def read_config(path: str, tiny: bool, options: dict | None) -> Config:
    """Read the config to measure, or in its place the tiny one."""
    if tiny:
        path, options = TINY_CONFIG, {**TINY_OPTIONS, **(options or {})}
    cfg = load_config(path, options, 'none', None)
    init_default_scope('mmseg')
    return cfg


def random_model(cfg: Config, device: str = 'cpu') -> nn.Module:
    """Build a config's model with random weights; on the device 'meta' without any."""
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    if device == 'meta':
        return model
    model.to_empty(device=device)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.normal_(std=0.02) if tensor.is_floating_point() else tensor.zero_()
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    return model


def sam2_trunk(cfg: Config, device: str = 'cpu') -> Hiera:
    """The sam2 package's own Hiera with the numbers of a config's backbone, the yardstick of every timing.

    Raises:
        ConfigError: the backbone is no `SAM2Hiera`, or one that the sam2 package cannot be.
    """
    if cfg.model.backbone.type != 'SAM2Hiera':
        raise ConfigError(f'the yardstick is a plain SAM2Hiera; the config has the backbone {cfg.model.backbone.type}')
    arch = cfg.model.backbone.get('arch', 'large')
    numbers = dict(ARCHITECTURES[arch] if isinstance(arch, str) else arch)
    firsts = [sum(numbers['stages'][:i]) for i in range(1, 4)]
    if set(firsts) & set(numbers['global_blocks']):
        raise ConfigError(f'the sam2 package cannot attend globally where a stage begins (blocks {firsts})')
    trunk = Hiera(
        embed_dim=numbers['embed_dim'],
        num_heads=numbers['num_heads'],
        stages=numbers['stages'],
        global_att_blocks=numbers['global_blocks'],
        window_spec=numbers['windows'],
        window_pos_embed_bkg_spatial_size=(numbers['background'], numbers['background']),
    )
    return trunk.eval().requires_grad_(False).to(device)


def random_batch(model: ReferringSegmentor, batch_size: int, text_length: int, device: str = 'cpu') -> ReferringBatch:
    """Random views and texts of full length for a model."""
    spec = model.input_spec
    generator = torch.Generator().manual_seed(0)

    def view(side: int | None) -> torch.Tensor | None:
        return None if side is None else torch.randn(batch_size, 3, side, side, generator=generator)

    batch = ReferringBatch(
        image=view(spec.image_size),
        union_image=view(spec.union_size),
        token_ids=torch.randint(4, spec.vocab_size, (batch_size, text_length), generator=generator),
        text_mask=torch.ones(batch_size, text_length, dtype=torch.bool),
    )
    return ReferringBatch(*(None if tensor is None else tensor.to(device) for tensor in batch))


def random_samples(batch: ReferringBatch) -> list[RefSegDataSample]:
    """Ground truth for a batch: in each image the upper half."""
    masks = torch.zeros_like(batch.image[:, :1], dtype=torch.uint8)
    masks[:, :, : masks.shape[2] // 2] = 1
    return [RefSegDataSample(gt_sem_seg=PixelData(data=mask)) for mask in masks]


def count_flops(call: Callable[[], object], module: nn.Module) -> dict[str, int]:
    """Floating-point operations of a call on the meta device, by dotted module name; the whole under ''.

    Products, convolutions and attention count, a multiplication and an addition as two.
    """
    with FlopCounterMode(display=False) as counter:
        call()
    root = type(module).__name__
    counts = {name: sum(kinds.values()) for name, kinds in counter.get_flop_counts().items() if name != 'Global'}
    return {name.removeprefix(root).removeprefix('.'): count for name, count in counts.items()} | {
        '': counter.get_total_flops()
    }


def now(device: str) -> float:
    """Seconds on a clock, read when the device has done what it was given."""
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(call: Callable[[], object], device: str) -> tuple[float, float]:
    """Wall-clock and CPU seconds of a call."""
    wall, cpu = now(device), time.process_time()
    call()
    return now(device) - wall, time.process_time() - cpu


def peak_flops(device: str, dtype: torch.dtype, repeats: int = 3) -> float:
    """Operations a second of a large square product, `PEAK_SIDE` wide: what the device really reaches."""
    side = PEAK_SIDE[device]
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    torch.mm(a, b)
    return 2 * side**3 / statistics.median(seconds(lambda: torch.mm(a, b), device)[0] for _ in range(repeats))


def peak_memory(call: Callable[[], object], device: str) -> tuple[int, int]:
    """Bytes before a call and at its peak: allocated by torch on a GPU, resident in memory on a CPU (Linux)."""
    gc.collect()
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return before, torch.cuda.max_memory_allocated()
    # Writing 5 sets the peak that the kernel keeps back to what is resident now.
    Path('/proc/self/clear_refs').write_text('5')
    before = _resident('VmRSS')
    call()
    return before, _resident('VmHWM')


def _resident(key: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def device_name(device: str) -> str:
    """The device in words, for the head of a table."""
    if device == 'cuda':
        return torch.cuda.get_device_name()
    models = [line for line in Path('/proc/cpuinfo').read_text().splitlines() if line.startswith('model name')]
    return f'{models[0].partition(":")[2].strip() if models else "CPU"}, {torch.get_num_threads()} threads'
