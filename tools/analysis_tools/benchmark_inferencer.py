"""Time what a user runs: `RS2SAM2Inferencer` end to end, beside the bare forward pass of the same model, in turns.

python tools/analysis_tools/benchmark_inferencer.py [CONFIG] [--weights FILE] [--tokenizer FILE] [--image FILE]
    [--repeats N] [--tiny]

Two tables. The first: a warm inferencer from the picture's file to mask, RLE and PNG, against its own model on tensors
that are ready. The second: a new process from its start to the first mask, against reading the weights once and one
forward pass; and its memory. Without `--weights`, random ones are written to a temporary folder first.
"""

import argparse
import json
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
import sys, time
started = float(sys.argv[5])
from rs2sam2 import RS2SAM2Inferencer
imported = time.time()
inferencer = RS2SAM2Inferencer(sys.argv[1], sys.argv[2], device=sys.argv[3])
loaded = time.time()
inferencer(sys.argv[4], sys.argv[6])
done = time.time()
import json
peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1]
print(json.dumps([imported - started, loaded - imported, done - loaded, done - started, int(peak) * 1024]))
"""


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
    if image is None:
        image = folder / 'noise.jpg'
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8)).save(image)
    return config, Path(weights), Path(image)


def warm_table(
    inferencer: RS2SAM2Inferencer, image: Path, folder: Path, repeats: int, device: str
) -> tuple[Table, float]:
    """End to end against the bare forward pass, in turns; also the median seconds of the latter."""
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
    return table, statistics.median(wall for wall, _ in base)


def start_table(config: Path, weights: Path, image: Path, forward: float, device: str, repeats: int) -> Table:
    """A new process to its first mask, against reading the file once and one forward pass."""
    files = [weights] if weights.is_file() else sorted(file for file in weights.rglob('*') if file.is_file())
    size = sum(file.stat().st_size for file in files)
    rows, reads = [], []
    for _ in range(repeats):
        begin = time.perf_counter()
        for file in files:
            with file.open('rb', buffering=0) as stream:
                block = bytearray(1 << 24)
                while stream.readinto(block):
                    pass
        reads.append(time.perf_counter() - begin)
        command = [sys.executable, '-c', FIRST_MASK, config, weights, device, image, time.time(), EXPRESSION]
        rows.append(json.loads(subprocess.check_output([str(part) for part in command], text=True).splitlines()[-1]))
    imports, load, mask, total, peak = (statistics.median(column) for column in zip(*rows, strict=True))
    read = statistics.median(reads)
    table = Table(title=f'first mask of a new process; median of {repeats}', title_justify='left')
    table.add_column('what')
    table.add_column('', justify='right')
    for name, value in (
        ('imports, s', imports),
        ('build, load, fold, s', load),
        ('first mask, s', mask),
        ('from start to mask, s', total),
        ('reading the file once, s', read),
        ('one forward pass, s', forward),
        ('ratio', total / (read + forward)),
        ('weights, GB', size / 1e9),
        ('peak of resident memory, GB', peak / 1e9),
        ('above the weights, GB', (peak - size) / 1e9),
    ):
        table.add_row(name, f'{value:.2f}')
    return table


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
        console.print(start_table(config, weights, image, forward, device, args.repeats))


if __name__ == '__main__':
    with one_line_errors():
        main()
