"""Time configs against the sam2 package's plain Hiera trunk, in turns, with random weights.

python tools/analysis_tools/benchmark.py [CONFIG ...] [--mode {inference,backward,train}] [--batch-size N]
    [--dtype {fp32,bf16}] [--stored {fp32,bf16}] [--compile] [--no-fold] [--repeats N] [--breakdown] [--tiny]

Every repeat times the trunk, then each config, so that other load on the machine meets all of them; the ratio is the
median of the repeats' ratios. CPU seconds are those of all threads: on a shared machine they say more than the clock.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from mmengine.config import Config
from rich.table import Table
from torch import nn
from torch.profiler import profile

from rs2sam2.engine.arguments import add_cfg_options, make_parser
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.engine.measure import (
    PEAK_SIDE,
    TINY_CONFIG,
    count_flops,
    device_name,
    now,
    peak_flops,
    peak_memory,
    random_batch,
    random_model,
    random_samples,
    read_config,
    sam2_trunk,
    seconds,
)
from rs2sam2.errors import ConfigError
from rs2sam2.terminal import plain, plain_console

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}
OPERATIONS_SHOWN = 10


@dataclass
class Candidate:
    """What is timed: a call, its FLOPs, and what was measured."""

    name: str
    call: Callable[[], object]
    flops: int
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: tuple[int, int] = (0, 0)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', nargs='?', default='configs/rs2sam2_rrsisd.py', help='config (default: the full one)')
    parser.add_argument('others', nargs='*', metavar='config', help='more configs, timed in turns with the first')
    parser.add_argument('--tiny', action='store_true', help=f'take {TINY_CONFIG} instead: does the tool itself run?')
    parser.add_argument(
        '--mode',
        choices=['inference', 'backward', 'train'],
        default='inference',
        help='backward: loss and gradients; train: and a step of AdamW (the trunk runs forward only)',
    )
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument('--text-length', type=int, default=12, help='tokens, <s> and </s> counted')
    parser.add_argument('--dtype', choices=list(DTYPES), default='fp32', help='bf16: autocast')
    parser.add_argument('--stored', choices=list(DTYPES), default='fp32', help='dtype of the weights in inference')
    parser.add_argument('--compile', action='store_true', help='torch.compile the model')
    parser.add_argument('--no-fold', action='store_true', help='keep adapters beside the MLPs in inference')
    parser.add_argument('--no-trunk', action='store_true', help='leave out the yardstick, for measuring memory')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--breakdown', action='store_true', help='also the time by component and by operation')
    add_cfg_options(parser, 'both configs')
    return parser.parse_args()


def make_candidate(cfg: Config, args: argparse.Namespace, device: str) -> tuple[Candidate, nn.Module]:
    """Build a config's model and the call that is timed."""
    flops = flops_of(cfg, args)
    model = random_model(cfg, device)
    batch = random_batch(model, args.batch_size, args.text_length, device)
    autocast = torch.autocast(device, torch.bfloat16, enabled=args.dtype == 'bf16')
    if args.mode == 'inference':
        model.eval()
        if not args.no_fold:
            model.fold()
        for parameter in model.parameters():
            parameter.data = parameter.data.to(DTYPES[args.stored])
        forward = torch.compile(model.encode_decode) if args.compile else model.encode_decode

        @torch.inference_mode()
        def call() -> None:
            with autocast:
                forward(batch)

        return Candidate(cfg.filename, call, flops), model
    samples = random_samples(batch)
    loss = torch.compile(model.loss) if args.compile else model.loss
    learning = [parameter for parameter in model.train().parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-5, fused=device == 'cuda') if args.mode == 'train' else None

    def step() -> None:
        with autocast:
            total = sum(loss(batch, samples).values())
        total.backward()
        if optimizer is not None:
            optimizer.step()
        model.zero_grad()

    return Candidate(cfg.filename, step, flops), model


def flops_of(cfg: Config, args: argparse.Namespace) -> int:
    """FLOPs of one call, counted on the meta device; what checkpointing computes again counts again."""
    model = random_model(cfg, 'meta')
    batch = random_batch(model, args.batch_size, args.text_length, 'meta')
    if args.mode == 'inference':
        return count_flops(torch.no_grad()(lambda: model.eval().encode_decode(batch)), model)['']
    samples = random_samples(batch)
    try:
        return count_flops(lambda: sum(model.loss(batch, samples).values()).backward(), model)['']
    except ValueError as error:
        # A batch norm after pooling has one value a sample.
        raise ConfigError(
            f'{cfg.filename} cannot train on a batch of {args.batch_size} ({error}): --batch-size 2'
        ) from error


def make_yardstick(cfg: Config, args: argparse.Namespace, device: str) -> Candidate:
    """The plain trunk on the same images, forward only."""
    try:
        trunk = sam2_trunk(cfg, 'meta')
    except ConfigError as error:
        raise ConfigError(
            f'{error}: name a config with SAM2Hiera first, or leave the trunk out by --no-trunk'
        ) from error
    image = random_batch(random_model(cfg, 'meta'), args.batch_size, 1, 'meta').image
    flops = count_flops(torch.no_grad()(lambda: trunk(image)), trunk)['']
    trunk, image = sam2_trunk(cfg, device), torch.randn(image.shape, device=device)

    @torch.inference_mode()
    def call() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=args.dtype == 'bf16'):
            trunk(image)

    return Candidate('plain trunk (sam2 package), forward', call, flops)


def time_in_turns(candidates: list[Candidate], args: argparse.Namespace, device: str) -> float:
    """Fill in the candidates' times and memory; return the peak of a product, in operations a second."""
    peaks = []
    for candidate in candidates:
        # The first call warms up, compiles, and is the one whose memory counts.
        candidate.memory = peak_memory(candidate.call, device)
    for _ in range(args.repeats):
        peaks.append(peak_flops(device, DTYPES[args.dtype], repeats=1))
        for candidate in candidates:
            wall, cpu = seconds(candidate.call, device)
            candidate.wall.append(wall)
            candidate.cpu.append(cpu)
    return statistics.median(peaks)


def timing_table(candidates: list[Candidate], peak: float, args: argparse.Namespace, device: str) -> Table:
    """One row a candidate."""
    side = PEAK_SIDE[device]
    table = Table(
        title=f'{device_name(device)}; {args.mode}, {args.dtype}, batch {args.batch_size}, {args.text_length} tokens; '
        f'torch {torch.__version__}; peak of a {side}-cube product {peak / 1e9:,.0f} GFLOP/s; median of {args.repeats}',
        title_justify='left',
    )
    table.add_column('what')
    for column in ('s', 'images/s', 'x first row', 'CPU s', 'x', 'GFLOP', 'of peak', 'memory GB', 'of it before'):
        table.add_column(column, justify='right')
    first = candidates[0]
    for one in candidates:
        wall, cpu = statistics.median(one.wall), statistics.median(one.cpu)
        ratios = [
            statistics.median(a / b for a, b in zip(mine, base, strict=True))
            for mine, base in ((one.wall, first.wall), (one.cpu, first.cpu))
        ]
        before, top = (f'{size / 1e9:.2f}' for size in one.memory)
        table.add_row(
            plain(one.name), f'{wall:.3f}', f'{args.batch_size / wall:.2f}', f'{ratios[0]:.3f}', f'{cpu:.2f}',
            f'{ratios[1]:.3f}', f'{one.flops / 1e9:,.0f}', f'{one.flops / wall / peak:.0%}', top, before,
        )  # fmt: skip
    return table


def component_table(candidate: Candidate, model: nn.Module, device: str) -> Table:
    """Time of the forward pass by component: hooks around the modules, what contains others less these."""
    spent: dict[str, float] = defaultdict(float)
    handles = []

    def watch(module: nn.Module, name: str) -> None:
        started = []

        def begin(*_: object) -> None:
            started.append(now(device))

        def end(*_: object) -> None:
            spent[name] += now(device) - started.pop()

        handles.extend((module.register_forward_pre_hook(begin), module.register_forward_hook(end)))

    stages = model.stages()
    for stage in stages:
        for module in stage.modules:
            watch(module, stage.name)
    started = now(device)
    candidate.call()
    total = now(device) - started
    for handle in handles:
        handle.remove()
    for stage in stages:
        if stage.inside:
            spent[stage.inside] -= spent[stage.name]
    spent['rest'] = total - sum(spent.values())
    table = Table(title=f'{plain(candidate.name)}, by component (forward; the rest holds loss and backward)')
    table.add_column('component')
    for column in ('s', 'share'):
        table.add_column(column, justify='right')
    for name, time in sorted(spent.items(), key=lambda item: -item[1]):
        table.add_row(name, f'{time:.3f}', f'{time / total:.1%}')
    return table


def operation_table(candidate: Candidate) -> Table:
    """Time by operation, as torch's profiler sees it."""
    with profile() as profiler:
        candidate.call()
    events = profiler.key_averages()
    on_gpu = any(event.self_device_time_total for event in events)
    times = {e.key: e.self_device_time_total if on_gpu else e.self_cpu_time_total for e in events}
    total = sum(times.values())
    table = Table(title=f'{plain(candidate.name)}, by operation')
    table.add_column('operation')
    for column in ('s', 'share', 'calls'):
        table.add_column(column, justify='right')
    calls = {event.key: event.count for event in events}
    for name in sorted(times, key=times.get, reverse=True)[:OPERATIONS_SHOWN]:
        table.add_row(name, f'{times[name] / 1e6:.3f}', f'{times[name] / total:.1%}', str(calls[name]))
    return table


def main() -> None:
    """Time everything, print the tables."""
    args = parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    paths = [args.config, *args.others]
    configs = [read_config(path, args.tiny, args.cfg_options) for path in paths]
    candidates = [] if args.no_trunk else [make_yardstick(configs[0], args, device)]
    models = []
    for cfg in configs:
        candidate, model = make_candidate(cfg, args, device)
        candidates.append(candidate)
        models.append(model)
    peak = time_in_turns(candidates, args, device)
    console = plain_console(width=160)
    console.print(timing_table(candidates, peak, args, device))
    if args.breakdown:
        for candidate, model in zip(candidates[-len(models) :], models, strict=True):
            console.print(component_table(candidate, model, device), operation_table(candidate))


if __name__ == '__main__':
    with one_line_errors():
        main()
