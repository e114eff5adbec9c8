"""Models by their names: segment, train, list, download and publish against a server that speaks the hub's protocol."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

from helpers.command import MODULE, run_command, tree
from helpers.hub_server import Fault, HubServer
from helpers.paths import ROOT
from helpers.published_weights import save, write_shards
from helpers.work_dirs import make_image, make_work_dir
from rs2sam2.engine.preflight import published_inputs, require_inputs, weights_of
from rs2sam2.errors import ConfigError
from rs2sam2.evaluation.results import SampleResult, write_results
from rs2sam2.text.tokenizer import RefSegTokenizer
from rs2sam2.weights import zoo
from rs2sam2.weights.adapters import ADAPTERS
from rs2sam2.weights.bundle import read_bundle
from rs2sam2.weights.files import open_state_dict

EXPRESSION = 'the red ship'
# The command with a table of models of its own: the published ones are too large for a test.
WITH_TABLE = """
import sys
from pathlib import Path
from rs2sam2.weights import zoo
zoo.INDEX = Path(sys.argv.pop(1))
from rs2sam2.cli.main import main
main()
"""


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory) -> Path:
    return make_work_dir(tmp_path_factory.mktemp('model') / 'run')


@pytest.fixture(scope='module')
def image(tmp_path_factory) -> Path:
    return make_image(tmp_path_factory.mktemp('images') / 'a.png')


@pytest.fixture(scope='module')
def expected(work_dir, image, tmp_path_factory) -> dict[str, bytes]:
    return masks_of(work_dir, image, tmp_path_factory.mktemp('expected') / 'out')


@pytest.fixture
def hub():
    with HubServer() as hub:
        yield hub


def masks_of(model: object, image: Path, out: Path) -> dict[str, bytes]:
    """Segment in this process; the masks by name."""
    code, output = run_command('segment', image, '-e', EXPRESSION, '-m', model, '-o', out)
    assert code == 0, output
    return tree(out / 'masks')


def released_state(work_dir: Path) -> dict:
    """The work dir's weights under the released names."""
    adapter = ADAPTERS['rs2sam2']
    state = open_state_dict(next(work_dir.glob('best_*.pth')))
    return {f'module.{adapter.table.to_official(n)}': t for n, t in state.items() if not adapter.why_new(n)}


def make_table(folder: Path, work_dir: Path) -> Path:
    """A model index with one tiny model under the name and place of the release; returns its path."""
    (folder / 'configs').mkdir(parents=True)
    shutil.copy(work_dir / 'tiny.py', folder / 'configs/tiny.py')
    model = {
        'Name': 'rs2sam2_rrsisd',
        'In Collection': 'RS2-SAM2',
        'Config': 'configs/tiny.py',
        'Weights': 'hf:ReeF2025/RS2-SAM2/rrsisd',
        'Metadata': {'Local': 'pretrained/rs2sam2_rrsisd'},
    }
    (folder / 'configs/metafile.yml').write_text(yaml.safe_dump({'Models': [model]}))
    for name in ('bundles', 'starting_weights'):
        (folder / f'configs/{name}.yml').write_text(yaml.safe_dump({'Models': []}))
    (folder / 'model-index.yml').write_text(yaml.safe_dump({'Import': ['configs/metafile.yml']}))
    return folder / 'model-index.yml'


def run(command: list, cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, 'OMP_NUM_THREADS': '1', **environment},
        capture_output=True,
        text=True,
    )


def error_of(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    assert 'Traceback' not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    return line


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize('form', ['sharded', 'single', 'bin'])
def test_segment_by_name_from_an_empty_cache_then_offline(work_dir, image, expected, hub, tmp_path, form):
    folder = tmp_path / 'rrsisd'
    folder.mkdir()
    state = released_state(work_dir)
    if form == 'sharded':
        write_shards({name: tensor.clone() for name, tensor in state.items()}, folder, '.safetensors')
    else:
        save(state, folder / ('model.safetensors' if form == 'single' else 'rs2sam2_final.bin'))
    shutil.copy(work_dir / 'tokenizer/sentencepiece.bpe.model', folder)
    hub.add_folder('ReeF2025/RS2-SAM2', folder, 'rrsisd')
    table = make_table(tmp_path / 'table', work_dir)
    command = [sys.executable, '-c', WITH_TABLE, table, 'segment', image, '-e', EXPRESSION, '-m', 'rs2sam2-rrsisd']
    hub.faults.append(Fault('cdn/ReeF2025', break_after=100_000, times=1))
    done = run([*command, '-o', 'first'], tmp_path, hub.environment(tmp_path / 'home'))
    assert done.returncode == 0, done.stderr
    assert 'licence: none stated' in done.stderr
    assert tree(tmp_path / 'first/masks') == expected
    done = run([*command, '-o', 'again'], tmp_path, hub.environment(tmp_path / 'home', HF_HUB_OFFLINE='1'))
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / 'again/masks') == expected
    shutil.rmtree(tmp_path / 'home')
    done = run([*command, '-o', 'never'], tmp_path, hub.environment(tmp_path / 'home', HF_HUB_OFFLINE='1'))
    line = error_of(done)
    assert 'HF_HUB_OFFLINE' in line
    assert 'put it at pretrained/rs2sam2_rrsisd' in line
    # As the line says: fetched by hand, it is found.
    shutil.copytree(folder, tmp_path / 'pretrained/rs2sam2_rrsisd')
    done = run([*command, '-o', 'by_hand'], tmp_path, hub.environment(tmp_path / 'home', HF_HUB_OFFLINE='1'))
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / 'by_hand/masks') == expected


@pytest.mark.slow
@pytest.mark.ci
def test_published_pushed_and_used_by_everyone(work_dir, image, expected, hub, tmp_path):
    command = [*MODULE, 'publish', work_dir, 'tiny', '--license', 'mit', '--push', 'lab/tiny']
    line = error_of(run(command, tmp_path, hub.environment(tmp_path / 'mine')))
    assert 'lab/tiny cannot be' in line
    assert 'HF_TOKEN' in line
    shutil.rmtree(tmp_path / 'tiny')
    done = run(command, tmp_path, hub.environment(tmp_path / 'mine', HF_TOKEN='hf_secret'))
    assert done.returncode == 0, done.stderr
    assert set(hub.repositories['lab/tiny']) >= {
        'bundle.json', 'model.safetensors', 'README.md', 'tokenizer/sentencepiece.bpe.model'
    }  # fmt: skip
    assert '--model hf:lab/tiny' in hub.repositories['lab/tiny']['README.md'].decode()
    # What others put beside it is not fetched.
    hub.repositories['lab/tiny'] |= {'evil.py': b'1 / 0', 'pytorch_model.bin': b'cos\nsystem\n'}
    segment = [*MODULE, 'segment', image, '-e', EXPRESSION, '-m', 'hf:lab/tiny', '-o', 'out']
    done = run(segment, tmp_path, hub.environment(tmp_path / 'yours'))
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / 'out/masks') == expected
    assert not list((tmp_path / 'yours').rglob('evil.py'))
    hub.repositories['lab/plain'] = {'model.safetensors': hub.repositories['lab/tiny']['model.safetensors']}
    line = error_of(run([*segment[:-3], 'hf:lab/plain', '-o', 'no'], tmp_path, hub.environment(tmp_path / 'yours')))
    assert 'hf:lab/plain is no bundle' in line
    # It has this model's names, so with a config it is weights.
    weights = [*segment[:-3], work_dir / 'tiny.py', '-w', 'hf:lab/plain', '-o', 'weights']
    shutil.copytree(work_dir / 'tokenizer', tmp_path / 'data/nowhere/tokenizer')
    done = run(weights, tmp_path, hub.environment(tmp_path / 'yours'))
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / 'weights/masks') == expected


def test_a_card_says_where_the_model_comes_from_and_how_well_it_does(work_dir, image, expected, tmp_path):
    copy = shutil.copytree(work_dir, tmp_path / 'run')
    rows = [
        SampleResult(str(i), f'{i // 2}.png', 'a ship', None, False, 'native', 10 * i, 200 + i, 10 * i / (200 + i), 0.1)
        for i in range(20)
    ]
    write_results(rows, copy / 'test/results.jsonl')
    write_results(rows[:4], copy / 'shuffled_images/results.jsonl')
    code, output = run_command('publish', copy, tmp_path / 'tiny', '--license', 'cc-by-4.0')
    assert code == 0, output
    text = (tmp_path / 'tiny/README.md').read_text()
    front = yaml.safe_load(text.split('---')[1])
    assert front['license'] == 'cc-by-4.0'
    assert front['library_name'] == 'rs2sam2'
    (results,) = front['model-index'][0]['results']
    assert {one['type']: one['value'] for one in results['metrics']}['mIoU'] == 44.62
    assert re.search(r'\| test \| 20 \| native \|.* 44\.62 \(28\.1 - 61\.8\) \|', text)
    assert 'Trained on drawn scenes' in text
    about = read_bundle(tmp_path / 'tiny').about
    assert [score['name'] for score in about['scores']] == ['test', 'shuffled_images']
    assert masks_of(tmp_path / 'tiny', image, tmp_path / 'out') == expected
    code, output = run_command('publish', copy, tmp_path / 'half', '--license', 'mit', '--dtype', 'bf16')
    assert code == 0, output
    sizes = [(tmp_path / name / 'model.safetensors').stat().st_size for name in ('half', 'tiny')]
    assert sizes[0] < 0.6 * sizes[1]
    # A bundle of a bundle is the bundle again.
    assert run_command('publish', tmp_path / 'tiny', tmp_path / 'twice', '--license', 'mit')[0] == 0
    assert masks_of(tmp_path / 'twice', image, tmp_path / 'twice_out') == expected


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        ([], 'need a licence'),
        (['--license', 'mit', '--dtype', 'int8'], 'one of fp32, bf16, fp16'),
        (['--license', 'mit', '--results', 'none.jsonl'], 'none.jsonl: there is no such file'),
        (['--license', 'mit', '--push', 'lab'], 'names no repository'),
        (['--license', 'mit', '--push', 'lab/tiny/folder'], 'user/repo'),
        (['--license', 'mit', '-w', 'none.pth'], 'none.pth does not exist'),
    ],
)
def test_what_cannot_be_published(work_dir, tmp_path, args, words):
    code, output = run_command('publish', work_dir, tmp_path / 'out', *args)
    assert code == 2
    assert words in output
    assert not (tmp_path / 'out').exists()


def test_the_list_names_every_entry_with_licence_and_scores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, output = run_command('models')
    assert code == 0
    for name, entry in zoo.published().items():
        (row,) = [line for line in output.splitlines() if f' {name} ' in line]
        assert entry.licence in row
        assert all(f'{value:.2f}' in row for _, metrics in entry.scores[:1] for value in metrics.values())
    assert 'scores of rs2sam2_rrsisd, rs2sam2_refsegrs: the authors' in output
    (tmp_path / 'pretrained').mkdir()
    (tmp_path / 'pretrained/beit3.spm').write_bytes(b'x')
    (row,) = [line for line in run_command('models')[1].splitlines() if ' beit3_tokenizer ' in line]
    assert ' yes ' in row


@pytest.mark.slow
@pytest.mark.ci
def test_download_all_that_a_config_starts_from(hub, tmp_path):
    weights = os.urandom(300_000)
    hub.repositories['facebook/sam2-hiera-large'] = {
        'sam2_hiera_large.pt': weights, 'model.safetensors': b'of transformers', 'sam2_hiera_l.yaml': b'{}'
    }  # fmt: skip
    hub.repositories['google/siglip-base-patch16-224'] = {
        'model.safetensors': weights, 'config.json': b'{}', 'tokenizer.json': b'{}', 'flax_model.msgpack': b'x'
    }  # fmt: skip
    config = ROOT / 'configs/rs2sam2_siglip_rrsisd.py'
    done = run([*MODULE, 'download', '--for', config], tmp_path, hub.environment(tmp_path / 'home'))
    assert done.returncode == 0, done.stderr
    assert {line.split(':')[0] for line in done.stdout.splitlines()} == {'siglip_base_patch16_224', 'sam2_hiera_large'}
    assert 'licence: Apache-2.0' in done.stderr
    blobs = [path.read_bytes() for path in (tmp_path / 'home/hub').rglob('blobs/*')]
    assert b'of transformers' not in blobs
    assert b'x' not in blobs
    # What training then still lacks is the data.
    train = [sys.executable, ROOT / 'tools/train.py', config]
    line = error_of(run(train, tmp_path, hub.environment(tmp_path / 'home', HF_HUB_OFFLINE='1')))
    assert line == (
        'error: data_root data/rrsisd is not a folder; set data_root to where the data set lies '
        '(RRSIS-D: github.com/Lsan2401/RMSIN)'
    )
    line = error_of(run([*MODULE, 'download', 'sam2-hiera-larg'], tmp_path, hub.environment(tmp_path / 'home')))
    assert 'did you mean sam2_hiera_large?' in line


def test_one_line_names_all_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HF_HOME', str(tmp_path))
    cfg = Config.fromfile(ROOT / 'configs/rs2sam2_rrsisd.py')
    assert weights_of(cfg) == ['pretrained/beit3_large_patch16_224.pth', 'pretrained/sam2_hiera_large.pt']
    with pytest.raises(ConfigError) as caught:
        require_inputs(cfg, ('train', 'val'))
    line = str(caught.value)
    assert 'needs 4 inputs' in line
    for words in (
        'pretrained/beit3_large_patch16_224.pth is missing', 'github.com/addf400/files', 'download sam2_hiera_large',
        'tokenizer pretrained/beit3.spm is missing', 'data_root data/rrsisd', 'github.com/Lsan2401/RMSIN',
        f'rs2sam2 download --for {cfg.filename}',
    ):  # fmt: skip
        assert words in line
    # Half of the data set: its files are told one by one.
    (tmp_path / 'data/rrsisd/rrsisd').mkdir(parents=True)
    (tmp_path / 'data/rrsisd/rrsisd/refs(unc).p').touch()
    with pytest.raises(ConfigError) as caught:
        require_inputs(cfg, ('test',))
    line = str(caught.value)
    assert 'data/rrsisd/rrsisd/instances.json is missing' in line
    assert 'data/rrsisd/images/rrsisd/JPEGImages is missing' in line
    assert 'refs(unc)' not in line


def test_a_tokenizer_by_a_name_without_a_path_of_its_own(tmp_path):
    (tmp_path / 'test.jsonl').touch()
    tokenizer = dict(type='RefSegTokenizer', path='demo', num_pieces=165)
    pipeline = [dict(type='TokenizeExpression', tokenizer=tokenizer)]
    dataset = dict(type='JSONLRefSegDataset', split='test', data_root=str(tmp_path), pipeline=pipeline)
    cfg = Config(dict(test_dataloader=dict(dataset=dataset)))
    require_inputs(cfg, ('test',))
    found = cfg.test_dataloader.dataset.pipeline[0].tokenizer
    assert Path(found.path).is_relative_to(zoo.published()['demo'].place)
    assert RefSegTokenizer(found.path, 165)('the ship')


# Those start from a file which a command in docs/data.md makes of the embedded model, or of another training.
MADE = {ROOT / f'configs/rs2sam2_tiny_nwpu_vhr10_{name}.py' for name in ('from_demo', 'plus')}
STARTING = sorted({*(ROOT / 'configs').glob('*.py')} - MADE)


@pytest.mark.parametrize('path', STARTING, ids=lambda path: path.stem)
def test_shipped_configs_start_from_what_the_table_has(path):
    cfg = Config.fromfile(path)
    needed = {entry.local for entry in published_inputs(cfg)}
    assert set(weights_of(cfg)) <= needed


@pytest.mark.slow
@pytest.mark.ci
def test_training_starts_from_a_place(site, hub, tmp_path, work_dir):
    """`load_from` and `OfficialWeights` by place, through tools/train.py."""
    cfg = Config.fromfile(site / 'config.py')
    from mmseg.registry import MODELS

    state = MODELS.build(cfg.model).state_dict()
    sam2 = {ADAPTERS['sam2'].table.to_official(n): t for n, t in state.items() if ADAPTERS['sam2'].fills(n)}
    save({n: t for n, t in sam2.items() if n}, tmp_path / 'sam2.pt', 'model')
    save(state, tmp_path / 'model.safetensors')
    hub.repositories['lab/sam2'] = {'sam2_tiny.pt': (tmp_path / 'sam2.pt').read_bytes()}
    hub.repositories['lab/whole'] = {'model.safetensors': (tmp_path / 'model.safetensors').read_bytes()}
    start = dict(type='OfficialWeights', source='sam2', checkpoint='hf:lab/sam2')
    (tmp_path / 'start.py').write_text(
        f'_base_ = [{str(site / "config.py")!r}]\nmodel = dict(init_cfg=[{start}])\nload_from = "hf:lab/whole"\n'
    )
    done = run([sys.executable, ROOT / 'tools/train.py', 'start.py'], tmp_path, hub.environment(tmp_path / 'home'))
    assert done.returncode == 0, done.stderr[-3000:]
    log = done.stdout + done.stderr
    assert 'fetching hf:lab/sam2' in log
    assert 'fetching hf:lab/whole' in log
    assert 'load SAM 2 weights from' in log
    assert 'load own weights from' in log


@pytest.mark.slow
@pytest.mark.ci
def test_a_bundle_gives_the_same_masks_from_a_wheel_elsewhere(work_dir, image, expected, tmp_path):
    code, output = run_command('publish', work_dir, tmp_path / 'here/tiny', '--license', 'mit')
    assert code == 0, output
    shutil.move(tmp_path / 'here/tiny', tmp_path / 'moved')
    source = tmp_path / 'source'
    ignore = shutil.ignore_patterns('.mim', '__pycache__', '*.egg-info')
    for name in ('projects', 'configs', 'tools', 'requirements'):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'model-index.yml'):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, '-m', 'pip', '-q', 'wheel', '--no-build-isolation', '--no-deps', '--no-index']
    subprocess.run([*pip, '-w', tmp_path, source], check=True)
    (wheel,) = tmp_path.glob('rs2sam2-*.whl')
    zipfile.ZipFile(wheel).extractall(tmp_path / 'installed')
    shutil.rmtree(source)
    script = (
        f'import sys; sys.path.insert(0, {str(tmp_path / "installed")!r})\n'
        # Where this repository is installed in place, its finder would come first.
        'sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in getattr(f, "__module__", "")]\n'
        'import rs2sam2; print(rs2sam2.__file__)\n'
        'from rs2sam2.cli.main import main\n'
        'main()\n'
    )
    outside = tmp_path / 'outside'
    outside.mkdir()
    command = [sys.executable, '-c', script, 'segment', image, '-e', EXPRESSION, '-m', tmp_path / 'moved', '-o', 'out']
    done = run(command, outside, {})
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / 'installed/rs2sam2/__init__.py') in done.stdout
    assert tree(outside / 'out/masks') == expected
    done = run([*command[:3], 'models'], outside, {})
    assert 'rs2sam2_rrsisd' in done.stdout
    assert json.loads((tmp_path / 'moved/bundle.json').read_text())['about']['licence'] == 'mit'
