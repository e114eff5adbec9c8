"""Run every install line of README and docs as printed, README's next commands, and the tests of the page.

python3 .ci/install.py

In a copy of this repository and a new venv, without pip's cache, as on a machine that has nothing yet. What `make demo`
draws, README's commands run on: a picture is made here instead, and a scene. Published weights are not fetched: the
embedded model takes their place.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r'^```(?:bash|sh)\n(.*?)^```', re.M | re.S)
PYTHON = re.compile(r'^```python\n(.*?)^```', re.M | re.S)
INDENTED = re.compile(r'^ {4}(pip install .+)$', re.M)
INLINE = re.compile(r'`(pip install [^`]+)`')
# PyTorch's own index is not reached from where this runs.
NOT_REACHED = 'download.pytorch.org'
ACTIVATE = 'source .venv/bin/activate'
FETCHED = 'rs2sam2_rrsisd'
# What runs until it is stopped, and where it answers.
SERVERS = {'rs2sam2 demo': 'http://127.0.0.1:7860', 'rs2sam2 serve': 'http://127.0.0.1:8000/health'}
STAND_IN = """
import shutil
from pathlib import Path
import numpy as np, rasterio
from rasterio.transform import from_origin
from helpers.work_dirs import make_image
make_image(Path('data/demo/images/rrsisd/JPEGImages/02120.jpg'), (160, 160))
bands = np.random.default_rng(0).integers(0, 255, (3, 200, 180), dtype=np.uint8)
profile = dict(driver='GTiff', count=3, height=200, width=180, dtype='uint8', crs='EPSG:32632')
with rasterio.open('scene.tif', 'w', transform=from_origin(4e5, 5.3e6, 0.5, 0.5), **profile) as scene:
    scene.write(bands)
"""


def blocks(text: str) -> list[list[str]]:
    """The fenced shell blocks of a page, their lines without comments."""
    whole = (block.replace('\\\n', ' ') for block in BLOCK.findall(text))
    lines = ([re.sub(r'\s+#.*', '', line) for line in block.splitlines()] for block in whole)
    return [[line for line in block if line.strip()] for block in lines]


def run(lines: list[str], folder: Path, activate: bool = True) -> None:
    """Run lines of shell in one bash, each as it is; the first that fails ends everything."""
    script = '\n'.join(['set -e', *([ACTIVATE] if activate else []), *lines])
    begin = time.time()
    env = {name: value for name, value in os.environ.items() if name not in ('VIRTUAL_ENV', 'PYTHONPATH')}
    done = subprocess.run(['bash', '-c', script], cwd=folder, env={**env, 'PIP_NO_CACHE_DIR': '1'}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)  # fmt: skip
    for line in lines:
        print(f'    {line}')
    print(f'  exit {done.returncode}, {time.time() - begin:.0f} s', flush=True)
    if done.returncode:
        sys.exit('\n'.join(done.stdout.splitlines()[-30:]))


def serve(line: str, url: str, folder: Path, patience: float = 120) -> None:
    """Start a server as printed, ask it once, stop it."""
    env = {name: value for name, value in os.environ.items() if name not in ('VIRTUAL_ENV', 'PYTHONPATH')}
    server = subprocess.Popen(['bash', '-c', f'{ACTIVATE}; exec {line}'], cwd=folder, env=env)
    try:
        begin = time.time()
        while True:
            if server.poll() is not None or time.time() - begin > patience:
                sys.exit(f'{line}: no answer at {url}')
            try:
                answer = urllib.request.urlopen(url, timeout=10).status
                break
            except OSError:
                time.sleep(1)
        print(f'    {line}\n  {url} answers {answer} after {time.time() - begin:.0f} s', flush=True)
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    """Copy, install, use."""
    pages = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
    texts = {page.relative_to(ROOT): page.read_text() for page in pages}
    names = subprocess.run(
        ['git', 'ls-files', '-z', '-co', '--exclude-standard'], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split('\0')
    with tempfile.TemporaryDirectory(prefix='rs2sam2-install-') as temporary:
        folder = Path(temporary)
        for name in filter(None, names):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        print('README, Install:')
        installs = [block for block in blocks(texts[Path('README.md')]) if any('pip install' in line for line in block)]
        if not installs or not installs[0][0].startswith('python3 -m venv'):
            sys.exit('README has no block that makes a venv and installs')
        for number, block in enumerate(installs):
            if skipped := [line for line in block if NOT_REACHED in line]:
                print(f'  not run, {NOT_REACHED} is not reached from here: {"; ".join(skipped)}')
            if block := [line for line in block if NOT_REACHED not in line]:
                run(block, folder, activate=number > 0)
        for page, text in texts.items():
            found = [*INDENTED.findall(text), *INLINE.findall(text)]
            if page != Path('README.md'):
                found = [line for block in blocks(text) for line in block if 'pip install' in line] + found
            for line in dict.fromkeys(re.sub(r'\s+#.*', '', line) for line in found if NOT_REACHED not in line):
                print(f'{page}:')
                run([line], folder)
        print('README, the next commands:')
        (folder / 'stand_in.py').write_text(STAND_IN)
        run(['pip check', 'PYTHONPATH=tests python stand_in.py'], folder)
        for number, code in enumerate(PYTHON.findall(texts[Path('README.md')])):
            if 'RS2SAM2Inferencer(' in code:
                (folder / f'readme_{number}.py').write_text(code)
                run([f'python readme_{number}.py'], folder)
        for block in blocks(texts[Path('README.md')]):
            for line in block:
                if url := next((url for command, url in SERVERS.items() if line.startswith(command)), None):
                    serve(line, url, folder)
                elif line.startswith('rs2sam2 '):
                    run([line.replace(f'--model {FETCHED}', '--model demo')], folder)
        # Gradio wants an older Pillow than `make test` runs on. Its packages warn as they like.
        run(['pip install pytest', 'python -m pytest -W default tests/page'], folder)
    print('install lines: all as printed; the page passes its tests')


if __name__ == '__main__':
    main()
