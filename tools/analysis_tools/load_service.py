"""Load `rs2sam2 serve` and hold every answer against what `rs2sam2 segment` writes of the same images.

python tools/analysis_tools/load_service.py [--model NAME] [--requests N] [--clients N] [--batch-size N] [--bits]

Starts a service on this machine, asks it from many threads for drawn scenes of mixed sizes, one in twenty broken, and
compares the masks bit for bit. Tells how long answers took, which batch sizes were reached, and the service's memory
after each fifth of the requests. With `--bits`, instead: how far a batch moves the log-odds of its members.
"""

import argparse
import io
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from rich.table import Table

from rs2sam2 import RefSegInferencer
from rs2sam2.client import Client, ServiceError
from rs2sam2.engine.arguments import make_parser
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.engine.measure import device_name
from rs2sam2.errors import DataError
from rs2sam2.synthetic.scene import draw_scene
from rs2sam2.terminal import plain_console
from rs2sam2.text.grammar import describe_objects

COMMAND = [sys.executable, '-m', 'rs2sam2.cli.main']
BROKEN_EVERY = 20
SIDES = (96, 900)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('--model', default='demo', help='as --model of rs2sam2 serve')
    parser.add_argument('--requests', type=int, default=500)
    parser.add_argument('--clients', type=int, default=16)
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--bits', action='store_true', help='measure how far a batch moves log-odds, and end')
    return parser.parse_args()


def make_images(folder: Path, count: int) -> list[tuple[Path, str]]:
    """Drawn scenes, enlarged to mixed sizes, each with a sentence about it."""
    rng, pairs = np.random.default_rng(0), []
    while len(pairs) < count:
        scene = draw_scene(rng)
        described = describe_objects(scene.objects, scene.image.shape[:2], rng, per_object=1)
        if described:
            size = tuple(int(side) for side in rng.integers(*SIDES, 2))
            path = folder / f'{len(pairs):04d}.png'
            Image.fromarray(scene.image).resize(size, Image.Resampling.BICUBIC).save(path)
            pairs.append((path, described[rng.integers(len(described))].text))
    return pairs


def run_command(pairs: list[tuple[Path, str]], model: str, folder: Path) -> list[np.ndarray]:
    """The masks that `rs2sam2 segment` writes."""
    lines = [json.dumps(dict(image=str(path), expression=text, id=path.stem)) for path, text in pairs]
    (folder / 'pairs.jsonl').write_text('\n'.join(lines))
    out = folder / 'out'
    words = ['segment', '--pairs', folder / 'pairs.jsonl', '--model', model, '--out', out, '--no-overlays']
    subprocess.run([*COMMAND, *map(str, words)], check=True, capture_output=True)
    return [np.array(Image.open(out / f'masks/{path.stem}.png')) for path, _ in pairs]


def ask_all(client: Client, pairs: list[tuple[Path, str]], masks: list[np.ndarray], args: argparse.Namespace) -> dict:
    """Ask from many threads; what came of each request, and how long it took."""
    process = psutil.Process(args.pid)
    memory = [process.memory_info().rss]

    def ask(number: int) -> tuple[str, float]:
        path, text = pairs[number % len(pairs)]
        content = path.read_bytes()
        broken = number % BROKEN_EVERY == BROKEN_EVERY - 1
        begin = time.perf_counter()
        try:
            answer = client.segment(content[: len(content) // 2] if broken else content, text, format='png')
            same = not broken and np.array_equal(np.array(Image.open(io.BytesIO(answer))), masks[number % len(pairs)])
            outcome = 'the mask of the command' if same else 'ANOTHER MASK'
        except ServiceError as error:
            clear = broken and error.status == 422 and 'image' in str(error) and '\n' not in str(error)
            outcome = 'one clear error' if clear else f'ANOTHER ERROR: {error}'
        if (number + 1) % max(1, args.requests // 5) == 0:
            memory.append(process.memory_info().rss)
        return outcome, time.perf_counter() - begin

    begin = time.perf_counter()
    with ThreadPoolExecutor(args.clients) as threads:
        outcomes, seconds = zip(*threads.map(ask, range(args.requests)), strict=True)
    whole = time.perf_counter() - begin
    return dict(outcomes=Counter(outcomes), seconds=seconds, whole=whole, memory=memory)


def batch_sizes(client: Client) -> tuple[float, str, float]:
    """Mean batch, how many batches reached which size, and expressions that were run again alone."""
    text = client._ask('GET', '/metrics').decode()
    counts = [(edge, float(n)) for edge, n in re.findall(r'^rs2sam2_batch_size_bucket\{le="(\S+)"\} (\S+)', text, re.M)]
    told, before = [], 0.0
    for edge, count in counts:
        told += [f'{count - before:.0f} to {edge}'] if count > before else []
        before = count
    value = {name: float(n) for name, n in re.findall(r'^rs2sam2_(\w+) (\S+)$', text, re.M)}
    return value['batch_size_sum'] / value['batch_size_count'], ', '.join(told), value['run_alone_total']


def tell(found: dict, client: Client, args: argparse.Namespace) -> None:
    """Print what was found; the exit status is 1 where an answer was neither right nor a clear error."""
    mean, sizes, alone = batch_sizes(client)
    seconds = sorted(found['seconds'])
    table = Table(
        title=f'{args.requests} requests by {args.clients} clients, {device_name("cpu")}', title_justify='left'
    )
    table.add_column('what')
    table.add_column('value')
    for outcome, count in found['outcomes'].items():
        table.add_row(outcome, f'{count:,}')
    table.add_row('requests a second', f'{args.requests / found["whole"]:.1f}')
    table.add_row(
        'p50, p95, longest', ', '.join(f'{seconds[int(q * (len(seconds) - 1))]:.2f} s' for q in (0.5, 0.95, 1))
    )
    table.add_row('batches', f'mean {mean:.1f}: {sizes}')
    table.add_row('run again alone', f'{alone:.0f}')
    table.add_row('memory after each fifth', ', '.join(f'{size / 2**20:.0f} MB' for size in found['memory']))
    plain_console().print(table)
    if set(found['outcomes']) - {'the mask of the command', 'one clear error'}:
        sys.exit(1)


def measure_bits(args: argparse.Namespace, folder: Path) -> None:
    """How far log-odds in a batch are from those of each alone, as a share of the largest."""
    pairs = make_images(folder, 64)
    inferencer = RefSegInferencer(args.model)
    alone = [inferencer(*pair)[0] for pair in pairs]
    together = inferencer(pairs=pairs, batch_size=args.batch_size)
    moved = [
        float(np.abs(a.logits - b.logits).max() / np.abs(a.logits).max()) for a, b in zip(alone, together, strict=True)
    ]
    tipped = sum(not np.array_equal(a.mask, b.mask) for a, b in zip(alone, together, strict=True))
    print(f'batches of {args.batch_size} move log-odds by at most {max(moved):.1e} of the largest, median '
          f'{statistics.median(moved):.1e}; a pixel was tipped in {tipped} of {len(pairs)} masks')  # fmt: skip


def main() -> None:
    """Entry point."""
    args = parse_args()
    folder = Path(tempfile.mkdtemp(prefix='rs2sam2-load-'))
    try:
        if args.bits:
            return measure_bits(args, folder)
        pairs = make_images(folder, min(args.requests, 200))
        masks = run_command(pairs, args.model, folder)
        words = [
            'serve',
            '--model',
            args.model,
            '--port',
            0,
            '--jobs',
            folder / 'jobs',
            '--batch-size',
            args.batch_size,
        ]
        words += ['--max-waiting', max(64, 2 * args.clients)]
        service = subprocess.Popen([*COMMAND, *map(str, words)], stdout=subprocess.PIPE, text=True)
        try:
            line = service.stdout.readline()
            if (address := re.search(r'http://[\d.:]+', line)) is None:
                raise DataError(f'the service did not start: {line}')
            client, args.pid = Client(address[0]), service.pid
            tell(ask_all(client, pairs, masks, args), client, args)
        finally:
            service.terminate()
            service.wait()
    finally:
        shutil.rmtree(folder)


if __name__ == '__main__':
    with one_line_errors():
        main()
