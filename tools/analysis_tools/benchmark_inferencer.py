"""Time what a user runs: `RS2SAM2Inferencer` end to end, beside the bare forward pass of the same model, in turns.

python tools/analysis_tools/benchmark_inferencer.py [CONFIG] [--weights FILE] [--tokenizer FILE] [--image FILE]
    [--repeats N] [--tiny]

A warm inferencer from the picture's file to mask, RLE and PNG, against its own model on tensors that are ready. New
processes from their start to the first mask, by step, in Python and as `rs2sam2 segment`, against reading the weights
once and one forward pass. And the memory of such a process. Without `--weights`, random ones are written to a temporary
folder first. On 2 cores at full size it takes about 5 minutes, `--repeats 1` about 2.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.table import Table

from rs2sam2 import RS2SAM2Inferencer
from rs2sam2.engine.arguments import make_parser
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.engine.measure import TINY_CONFIG, device_name, random_batch, random_model, read_config, seconds
from rs2sam2.synthetic.scene import CATEGORIES
from rs2sam2.synthetic.tokenizer import train_tokenizer
from rs2sam2.terminal import plain_console
from rs2sam2.text.grammar import vocabulary
from rs2sam2.weights.files import save_state_dict

EXPRESSION = 'the small gray airplane on the left of the road'
FIRST_MASK = """
import json, sys, time
from pathlib import Path
def resident(key):
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024
started, config, weights, device, image, expression = sys.argv[1:]
walls, cpus = [float(started)], [0.0]
def step():
    walls.append(time.time())
    cpus.append(time.process_time())
from rs2sam2 import RS2SAM2Inferencer
step()
imported = resident('VmHWM')
inferencer = RS2SAM2Inferencer(config, weights, device=device)
step()
loaded = resident('VmRSS')
inferencer(image, expression)
step()
print(json.dumps([walls, cpus, imported, loaded, resident('VmHWM')]))
"""
SEGMENT = 'import rs2sam2_command; rs2sam2_command.main()'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', nargs='?', default='configs/rs2sam2_rrsisd.py', help='config (default: the full one)')
    parser.add_argument('--weights', type=Path, help='weights that fit it (default: random ones)')
    parser.add_argument('--tokenizer', help="tokenizer (default: the config's, else one made for this run)")
    parser.add_argument('--image', type=Path, help='picture (default: noise of 800 x 800 as JPEG, as large as RRSIS-D)')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--tiny', action='store_true', help=f'take {TINY_CONFIG} instead: does the tool itself run?')
    return parser.parse_args()


def prepare(args: argparse.Namespace, folder: Path) -> tuple[Path, Path, Path]:
    """Config with a tokenizer that is there, weights, and a picture, as files."""
    cfg = read_config(args.config, args.tiny, None)
    steps = cfg.test_dataloader.dataset.pipeline
    tokenize = next(step for step in steps if 'tokenizer' in step)
    if args.tokenizer:
        tokenize.tokenizer.path = args.tokenizer
    elif not Path(tokenize.tokenizer.path).exists():
        spm = folder / 'tokenizer/sentencepiece.bpe.model'
        spm.parent.mkdir()
        spm.write_bytes(train_tokenizer(vocabulary(CATEGORIES)))
        tokenize.tokenizer = dict(type='RefSegTokenizer', path=str(spm), num_pieces=165)
    config, weights, image = folder / 'config.py', args.weights, args.image
    cfg.dump(config)
    if weights is None:
        weights = folder / 'random.safetensors'
        save_state_dict(weights, random_model(cfg).state_dict(), {})
        os.sync()  # else the disk is still busy with them while the clock runs
    if image is None:
        image = folder / 'noise.jpg'
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)).save(image)
    return config, Path(weights), Path(image)


def warm_table(
    inferencer: RS2SAM2Inferencer, image: Path, folder: Path, repeats: int, device: str
) -> tuple[Table, np.ndarray]:
    """End to end against the bare forward pass, in turns; also the median seconds of the latter, wall and CPU."""
    batch = random_batch(inferencer.model, 1, 12, device)

    @torch.inference_mode()
    def bare() -> None:
        inferencer.model.encode_decode(batch)

    def product() -> None:
        result = inferencer(image, EXPRESSION)[0]
        json.dumps(result.to_dict())
        Image.fromarray(result.mask.astype(np.uint8) * 255).save(folder / 'mask.png')

    calls = {'bare forward, folded': bare, 'RS2SAM2Inferencer: file to mask, RLE, PNG': product}
    times = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(seconds(call, device))
    table = Table(
        title=f'{device_name(device)}; {inferencer.precision}, batch 1; median of {repeats}', title_justify='left'
    )
    for column in ('what', 's', 'x', 'CPU s', 'x '):
        table.add_column(column, justify='left' if column == 'what' else 'right')
    base = times['bare forward, folded']
    for name, measured in times.items():
        walls, cpus = zip(*measured, strict=True)
        ratios = [statistics.median(a[i] / b[i] for a, b in zip(measured, base, strict=True)) for i in (0, 1)]
        wall, cpu = statistics.median(walls), statistics.median(cpus)
        table.add_row(name, f'{wall:.3f}', f'{ratios[0]:.3f}', f'{cpu:.2f}', f'{ratios[1]:.3f}')
    return table, np.median(base, axis=0)


def start_tables(
    config: Path, weights: Path, image: Path, forward: np.ndarray, device: str, repeats: int, folder: Path
) -> list[Table]:
    """New processes to their first mask, against reading the file once and one forward pass; and their memory."""
    files = [weights] if weights.is_file() else sorted(file for file in weights.rglob('*') if file.is_file())
    size = sum(file.stat().st_size for file in files)
    reads, masks, commands = [], [], []
    for number in range(repeats):
        reads.append(seconds(lambda: _read(files), 'cpu'))
        masks.append(json.loads(_run(FIRST_MASK, time.time(), config, weights, device, image, EXPRESSION)))
        out = folder / f'segmented-{number}'
        begin, before = time.perf_counter(), os.times()
        _run(SEGMENT, 'segment', image, '-e', EXPRESSION, '-m', config, '-w', weights, '-o', out, '--device', device)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        commands.append((time.perf_counter() - begin, cpu))
    walls, cpus = (np.median([np.diff(mask[i]) for mask in masks], axis=0) for i in (0, 1))
    read, command = np.median(reads, axis=0), np.median(commands, axis=0)
    least = read + forward
    time_table = Table(title=f'new processes; median of {repeats}', title_justify='left')
    for column in ('what', 's', 'CPU s', 'x'):
        time_table.add_column(column, justify='left' if column == 'what' else 'right')
    steps = np.stack((walls, cpus), axis=1)
    for name, (wall, cpu), is_whole in (
        ('reading the file once', read, False),
        ('reading it once and one forward pass', least, True),
        ('imports', steps[0], False),
        ('build, load, fold', steps[1], False),
        ('first mask', steps[2], False),
        ('RS2SAM2Inferencer, from start to mask', steps.sum(axis=0), True),
        ('rs2sam2 segment, from start to end', command, True),
    ):
        ratio = f'{wall / least[0]:.2f}' if is_whole else ''
        time_table.add_row(name, f'{wall:.2f}', f'{cpu:.2f}', ratio)
    memory_table = Table(title='memory of the process, GB', title_justify='left')
    memory_table.add_column('what')
    memory_table.add_column('', justify='right')
    imported, loaded, peak = np.median([mask[2:] for mask in masks], axis=0)
    for name, value in (
        ('weights', size),
        ('peak after the imports', imported),
        ('resident when loaded', loaded),
        ('peak at the first mask', peak),
        ('that above the weights', peak - size),
    ):
        memory_table.add_row(name, f'{value / 1e9:.2f}')
    return [time_table, memory_table]


def _read(files: list[Path]) -> None:
    block = bytearray(1 << 24)
    for file in files:
        with file.open('rb', buffering=0) as stream:
            while stream.readinto(block):
                pass


def _run(code: str, *words: object) -> str:
    """The last line that a Python process prints."""
    command = [sys.executable, '-c', code, *map(str, words)]
    return subprocess.check_output(command, text=True).splitlines()[-1]


def main() -> None:
    """Prepare the files, time, print the tables."""
    args = parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    console = plain_console()
    with tempfile.TemporaryDirectory(prefix='rs2sam2-benchmark-') as name:
        folder = Path(name)
        config, weights, image = prepare(args, folder)
        inferencer = RS2SAM2Inferencer(config, weights, device)
        table, forward = warm_table(inferencer, image, folder, args.repeats, device)
        console.print(table)
        del inferencer
        for table in start_tables(config, weights, image, forward, device, args.repeats, folder):
            console.print(table)


if __name__ == '__main__':
    with one_line_errors():
        main()
