"""Files from outside: read safely or refused in one line; written whole or not at all; loaded strictly."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.runner import load_checkpoint
from mmseg.registry import RUNNERS
from safetensors.torch import save_file
from torch import Tensor, nn

from helpers.paths import ROOT
from helpers.published_weights import assert_same, official_state, random_state, save, spoil, write_shards
from helpers.tiny import tiny_model
from rs2sam2.engine.runner import StrictRunner
from rs2sam2.errors import CheckpointError, ConfigError, RefSegError
from rs2sam2.weights import files as module
from rs2sam2.weights.adapters.adapter import OWN, refuse_nonfinite
from rs2sam2.weights.files import open_state_dict, save_state_dict
from rs2sam2.weights.loading import load_into

STATE = {'a.weight': torch.arange(6.0).view(2, 3), 'a.bias': torch.zeros(2, dtype=torch.bfloat16)}


class Attack:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f'touch {self.path}',)


def one_line(error: pytest.ExceptionInfo, *words: str) -> None:
    text = str(error.value)
    assert '\n' not in text
    assert all(word in text for word in words), text


@pytest.mark.parametrize('name', ['a.pth', 'a.pt', 'a.bin', 'a.safetensors'])
@pytest.mark.parametrize('wrapper', [None, 'model', 'state_dict'])
def test_every_format(name: str, wrapper: str | None, tmp_path: Path) -> None:
    assert_same(dict(open_state_dict(save(STATE, tmp_path / name, wrapper))), STATE)


@pytest.mark.parametrize('name', ['model.safetensors', 'pytorch_model.bin'])
def test_folder(name: str, tmp_path: Path) -> None:
    save(STATE, tmp_path / name)
    assert_same(dict(open_state_dict(tmp_path)), STATE)


def test_legacy_pickle(tmp_path: Path) -> None:
    torch.save(dict(model=STATE), tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    assert_same(dict(open_state_dict(tmp_path / 'old.pth')), STATE)
    torch.save(dict(model=Attack(tmp_path / 'ran')), tmp_path / 'bad.pth', _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match='system'):
        open_state_dict(tmp_path / 'bad.pth')
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('name', ['a.pth', 'a.pt', 'pytorch_model.bin'])
@pytest.mark.parametrize('place', ['beside', 'inside', 'bare'])
def test_pickle_that_would_run_code(name: str, place: str, tmp_path: Path) -> None:
    attack = Attack(tmp_path / 'ran')
    content = {'beside': dict(model=STATE, args=attack), 'inside': dict(STATE, extra=attack), 'bare': attack}[place]
    if place == 'bare':
        (tmp_path / name).write_bytes(pickle.dumps(attack, protocol=2))
    else:
        torch.save(content, tmp_path / name)
    with pytest.raises(CheckpointError) as error:
        open_state_dict(tmp_path / name)
    one_line(error, name, 'refused', 'system')
    assert not (tmp_path / 'ran').exists()


def test_the_stand_in_for_getattr_gives_nothing_away(tmp_path: Path) -> None:
    class Reach:
        def __reduce__(self) -> tuple:
            return getattr, (MessageHub, 'update_scalar')

    torch.save(dict(state_dict=STATE, x=Reach()), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError):
        open_state_dict(tmp_path / 'a.pth')


@pytest.mark.parametrize('name', ['a.pth', 'a.safetensors'])
@pytest.mark.parametrize('keep', [0, 1, 7, 0.3, 0.95])
def test_truncated(name: str, keep: float, tmp_path: Path) -> None:
    path = save(random_state('evf-sam2'), tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(CheckpointError) as error:
        open_state_dict(path)
    one_line(error, name)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ([1, 2], ['list']),
        ({}, ['no tensor']),
        (dict(model=dict(a=STATE['a.bias'], epoch=3)), ['epoch', 'int']),
        ('weights', ['str']),
        (STATE['a.bias'], ['Tensor']),
    ],
)
def test_no_checkpoint(content: object, words: list[str], tmp_path: Path) -> None:
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError) as error:
        open_state_dict(tmp_path / 'a.pth')
    one_line(error, 'a.pth', *words)


def test_paths_that_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / 'a.txt').write_text('x')
    (tmp_path / 'a.pth').write_text('hello')
    (tmp_path / 'folder').mkdir()
    for name, word in (
        ('none.pth', 'not exist'),
        ('a.txt', 'expected'),
        ('folder', 'model.safetensors'),
        ('a.pth', ''),
    ):
        with pytest.raises(CheckpointError) as error:
            open_state_dict(tmp_path / name)
        one_line(error, name, word)


@pytest.mark.parametrize('suffix', ['.safetensors', '.bin'])
def test_damaged_shards(suffix: str, tmp_path: Path) -> None:
    write_shards(STATE, tmp_path, suffix)
    assert_same(dict(open_state_dict(tmp_path)), STATE)
    index = next(tmp_path.glob('*.index.json'))
    shard = sorted(tmp_path.glob(f'*{suffix}'))[1]
    text, content = index.read_text(), shard.read_bytes()
    for damage, words in (
        (lambda: index.write_text(text.replace('a.bias', 'a.offset')), ['a.']),
        (lambda: index.write_text(text[:-10]), [index.name]),
        (lambda: index.write_text(text.replace(shard.name, f'../{shard.name}')), ['outside']),
        (lambda: shard.write_bytes(content[:20]), [shard.name]),
        (shard.unlink, [shard.name, 'missing']),
    ):
        damage()
        with pytest.raises(CheckpointError) as error:
            open_state_dict(tmp_path)
        one_line(error, *words)
        index.write_text(text)
        shard.write_bytes(content)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('value', ['nan', 'inf', '-inf'])
def test_nonfinite_is_refused(dtype: torch.dtype, value: str) -> None:
    tensor = torch.randn(300, 7).to(dtype)
    refuse_nonfinite('f', 'a', tensor)
    refuse_nonfinite('f', 'a', torch.empty(0))
    refuse_nonfinite('f', 'a', torch.tensor(torch.finfo(dtype).max))
    tensor[17, 3] = float(value)
    with pytest.raises(CheckpointError, match='f: a holds NaN or infinity'):
        refuse_nonfinite('f', 'a', tensor)


def test_numbers_that_a_cast_makes_infinite_are_refused() -> None:
    tensor = torch.randn(300, 7)
    tensor[17, 3] = -7e4
    for dtype in (None, torch.float32, torch.bfloat16):
        refuse_nonfinite('f', 'a', tensor, dtype)
    with pytest.raises(CheckpointError, match=r'f: a holds numbers up to 7e\+04, and float16 ends at 6.55e\+04'):
        refuse_nonfinite('f', 'a', tensor, torch.float16)
    with pytest.raises(CheckpointError, match='float32 ends at'):
        refuse_nonfinite('f', 'a', tensor.double() * 1e300, torch.float32)


@pytest.mark.parametrize('value', [float('nan'), 1e300])
def test_a_model_is_filled_whole_or_not_at_all(value: float, tmp_path: Path) -> None:
    """The bad number is in the last entry of the file; a float64 is no number of the model."""
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {name: tensor.double() if tensor.is_floating_point() else tensor.clone() for name, tensor in before.items()}
    last = [name for name, tensor in state.items() if tensor.is_floating_point()][-1]
    for name, tensor in state.items():
        tensor.add_(1)
        state[name] = tensor.fill_(value) if name == last else tensor
    file = open_state_dict(save(state, tmp_path / 'a.pth'))
    with pytest.raises(CheckpointError, match=f'a.pth: {last} holds'):
        load_into(model, OWN, file)
    assert_same(model.state_dict(), before)


@pytest.mark.parametrize('name', ['a.pth', 'a.safetensors'])
def test_written_whole_or_not_at_all(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'new/folder' / name
    save_state_dict(path, STATE, dict(source='sam2'), wrapper='state_dict')
    file = open_state_dict(path)
    assert_same(dict(file), STATE)
    assert file.content['meta'] == dict(source='sam2')
    before = path.read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, 'No space left on device')

    for target in ('torch.save' if name == 'a.pth' else 'rs2sam2.weights.files.save_file', 'os.replace'):
        with monkeypatch.context() as patch:
            patch.setattr(target, full)
            with pytest.raises(CheckpointError, match='No space left'):
                save_state_dict(path, {'b': torch.ones(3)}, {})
        assert path.read_bytes() == before
        assert [p.name for p in path.parent.iterdir()] == [name]
    with pytest.raises(CheckpointError, match=r'a\.txt'):
        save_state_dict(tmp_path / 'a.txt', STATE, {})


def peak_rss(code: str, *arguments: object) -> int:
    """Peak resident memory of a Python process in bytes, mapped pages of files counted too."""
    code += "\nprint([line for line in open('/proc/self/status') if line.startswith('VmHWM')][0].split()[1])"
    command = [sys.executable, '-c', code, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return int(result.stdout.split()[-1]) * 1024


CONVERT = """
import runpy, sys
sys.argv = ['convert.py', *sys.argv[1:]]
runpy.run_path('tools/model_converters/convert.py', run_name='__main__')
"""


@pytest.mark.slow
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_peak_memory_of_a_conversion(suffix: str, tmp_path: Path) -> None:
    """Above what the imports take, a conversion stays under 1.3 times the file, whatever the dtype."""
    from mmseg.registry import MODELS

    from rs2sam2.weights.adapters import ADAPTERS

    adapter = ADAPTERS['beit3']
    sizes, peaks = {}, {}
    for depth in (1, 8):
        encoder_cfg = dict(type='BEiT3UnionEncoder', arch=dict(dim=768, depth=depth, num_heads=12), vocab_size=64)
        encoder = MODELS.build(encoder_cfg)
        state = {adapter.table.to_official('union_encoder.' + name): t for name, t in encoder.state_dict().items()}
        src = save(state, tmp_path / f'{depth}{suffix}', 'model')
        config = tmp_path / f'c{depth}.py'
        config.write_text(
            f'_base_ = [{str(ROOT / "configs/rs2sam2_rrsisd.py")!r}]\n'
            f'model = dict(union_encoder=dict(_delete_=True, **{encoder_cfg}))\n'
        )
        sizes[depth] = src.stat().st_size
        for dtype in ('float32', 'bfloat16'):
            arguments = [src, tmp_path / f'dst{suffix}', '--source', 'beit3', '--config', config, '--dtype', dtype]
            peaks[depth, dtype] = peak_rss(CONVERT, *arguments)
    for dtype in ('float32', 'bfloat16'):
        more = peaks[8, dtype] - peaks[1, dtype]
        assert more < 1.3 * (sizes[8] - sizes[1]), (more, sizes)


def message_hub() -> dict:
    hub = MessageHub('test')
    hub.update_scalar('train/loss', 1.5)
    hub.update_scalar('train/loss', torch.tensor(2.5))
    hub.update_scalar('val/miou', np.float32(3))
    hub.update_info('epoch', np.int64(2))
    return hub.state_dict()


@pytest.fixture
def runner(tmp_path: Path):
    assert RUNNERS.get('StrictRunner') is StrictRunner
    return StrictRunner(
        model=tiny_model(),
        work_dir=str(tmp_path / 'work'),
        experiment_name=tmp_path.name,
        default_scope='mmseg',
        log_level='WARNING',
    )


def own_checkpoint(state: dict[str, Tensor], path: Path) -> Path:
    meta = dict(epoch=1, iter=5, cfg='a = 1', dataset_meta=dict(classes=('a',)), seed=0)
    optimizer = dict(state={0: dict(step=torch.tensor(1.0))}, param_groups=[dict(lr=1e-3, betas=(0.9, 0.99))])
    content = dict(meta=meta, state_dict=state, message_hub=message_hub(), optimizer=optimizer, param_schedulers=[])
    torch.save(content, path)
    return path


def test_runner_loads_own_checkpoints(runner, tmp_path: Path) -> None:
    state = random_state('rs2sam2')
    checkpoint = runner.load_checkpoint(str(own_checkpoint(state, tmp_path / 'epoch_1.pth')))
    assert_same(runner.model.state_dict(), state)
    assert checkpoint['message_hub']['log_scalars']['train/loss'].current() == 2.5
    wrapped = {'module.' + name: tensor for name, tensor in state.items()}
    runner.load_checkpoint(str(own_checkpoint(wrapped, tmp_path / 'ddp.pth')))


def test_runner_loads_published_weights_as_they_are(runner, tmp_path: Path) -> None:
    state, adapter_new = random_state('rs2sam2'), ('decode_head.iou_steps', 'decode_head.presence_steps')
    save_file(official_state('rs2sam2'), tmp_path / 'model.safetensors')
    checkpoint = runner.load_checkpoint(str(tmp_path))
    assert_same(runner.model.state_dict(), state)
    assert set(state) - set(checkpoint['state_dict']) == set(adapter_new)
    best = dict(meta=dict(epoch=1, iter=5), state_dict=state, message_hub=message_hub())
    torch.save(best, tmp_path / 'best_mIoU_epoch_1.pth')
    for path in (tmp_path, tmp_path / 'best_mIoU_epoch_1.pth'):
        with pytest.raises(CheckpointError, match=r'weights but no training state .*load_from, not --resume'):
            runner.resume(str(path))
    path = save(official_state('beit3'), tmp_path / 'beit3.pth', 'model')
    with pytest.raises(CheckpointError, match=r"a part of this model: .*source='beit3'"):
        runner.load_checkpoint(str(path))
    save(nn.BatchNorm2d(3).state_dict(), tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='neither weights of this model nor of RS2-SAM2, BEiT-3'):
        runner.load_checkpoint(str(tmp_path / 'other.pth'))


@pytest.mark.parametrize('how', ['missing', 'renamed', 'extra', 'shape', 'nan'])
@pytest.mark.parametrize('own', [True, False])
def test_runner_refuses_by_name(runner, how: str, own: bool, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in runner.model.state_dict().items()}
    state = random_state('rs2sam2') if own else official_state('rs2sam2')
    named = spoil(state, how, 'text_proj.weight' if own else 'text_feat_linear.weight')
    path = own_checkpoint(state, tmp_path / 'a.pth') if own else save(state, tmp_path / 'a.pth')
    for load in (runner.load_checkpoint, runner.resume) if own else (runner.load_checkpoint,):
        with pytest.raises(CheckpointError) as error:
            load(str(path))
        one_line(error, 'a.pth', named)
    assert_same(runner.model.state_dict(), before)


def test_mmengines_ways_around_are_closed(runner, tmp_path: Path) -> None:
    torch.save(dict(state_dict=STATE, args=Attack(tmp_path / 'ran')), tmp_path / 'a.pth')
    for load in (runner.load_checkpoint, runner.resume, lambda path: load_checkpoint(nn.Linear(2, 2), path)):
        with pytest.raises(CheckpointError, match='refused'):
            load(str(tmp_path / 'a.pth'))
    assert not (tmp_path / 'ran').exists()
    for url in ('https://example.org/a.pth', 'torchvision://resnet18', 'open-mmlab://resnet50'):
        with pytest.raises(RefSegError):
            load_checkpoint(nn.Linear(2, 2), url)
    with pytest.raises(ConfigError, match='strict'):
        runner.load_checkpoint(str(tmp_path / 'a.pth'), strict=False)
    model = tiny_model()
    model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'))
    with pytest.raises(ConfigError, match=r'model\.backbone: .*OfficialWeights'):
        runner.build_model(model)


def test_allowed_classes_are_few() -> None:
    names = {getattr(entry, '__name__', None) or entry[1] for entry in module._plain_globals()}
    assert names == {
        'HistoryBuffer', 'builtins.getattr', 'numpy.ndarray', 'dtype', 'Float32DType', 'Float64DType', 'Int32DType',
        'Int64DType', 'BoolDType', 'numpy._core.multiarray._reconstruct', 'numpy.core.multiarray._reconstruct',
        'numpy._core.multiarray.scalar', 'numpy.core.multiarray.scalar', 'Namespace',
    }  # fmt: skip
