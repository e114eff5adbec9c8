"""LAVT's and RMSIN's released checkpoints: an outer dict with a command line, BERT inside or beside; both ways."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from helpers.paths import ROOT
from helpers.published_weights import CONFIGS, assert_same, official_state, random_state, save
from helpers.released_rmsin import save_released
from helpers.tiny import shrink, tiny_model
from rs2sam2.errors import CheckpointError
from rs2sam2.weights.adapters import ADAPTERS, to_official, to_ours
from rs2sam2.weights.files import TensorSpec, load_pickle, open_state_dict, save_state_dict
from rs2sam2.weights.loading import adapter_of, load_into
from rs2sam2.weights.targets import config_specs, fit_architecture, module_specs

SOURCES = ['rmsin', 'lavt-one', 'lavt']


def released(source: str, path: Path, wrapped: str = '') -> Path:
    """A file as the training script of a source writes it."""
    state = official_state(source)
    bert = {name.removeprefix('bert_model.'): t for name, t in state.items() if name.startswith('bert_model.')}
    state = {name: t for name, t in state.items() if not name.startswith('bert_model.')}
    return save_released(path, state, {wrapped + name: t for name, t in bert.items()} or None)


def loaded(source: str, path: Path):
    model = tiny_model(CONFIGS[source], seed=3)
    file = open_state_dict(path)
    adapter = adapter_of(file, model)
    assert adapter is ADAPTERS[source]
    load_into(model, adapter, file)
    return model


@pytest.mark.parametrize('source', SOURCES)
def test_released_form_loads_strictly(source: str, tmp_path: Path) -> None:
    path = released(source, tmp_path / 'model_best_RMSIN.pth')
    file = open_state_dict(path)
    assert file.content['args'].swin_type == 'base'
    assert {'optimizer', 'epoch', 'lr_scheduler'} <= set(file.content)
    model, expected = loaded(source, path), random_state(source)
    adapter = ADAPTERS[source]
    for name, tensor in model.state_dict().items():
        if not adapter.why_computed(name):
            assert torch.equal(tensor, expected[name]), name


def test_berts_names_of_a_wrapper_of_several_gpus(tmp_path: Path) -> None:
    plain, wrapped = (released('lavt', tmp_path / f'{i}.pth', prefix) for i, prefix in enumerate(('', 'module.')))
    assert_same(loaded('lavt', wrapped).state_dict(), loaded('lavt', plain).state_dict())
    # RMSIN's script can write this form too.
    state = official_state('rmsin')
    bert = {f'module.{name.removeprefix("text_encoder.")}': t for name, t in state.items() if 'text_encoder.' in name}
    rest = {name: t for name, t in state.items() if 'text_encoder.' not in name}
    path = save_released(tmp_path / 'rmsin.pth', rest, bert)
    assert_same(loaded('rmsin', path).state_dict(), loaded('rmsin', released('rmsin', tmp_path / 'b.pth')).state_dict())


@pytest.mark.parametrize('source', SOURCES)
def test_written_back_in_the_released_form(source: str, tmp_path: Path) -> None:
    model = loaded(source, released(source, tmp_path / 'a.pth'))
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'epoch_3.pth')
    adapter, ours = ADAPTERS[source], open_state_dict(tmp_path / 'epoch_3.pth')
    plan = to_official(adapter, ours, module_specs(model))
    save_state_dict(tmp_path / 'b.pth', dict(plan.tensors()), {}, wrapper=adapter.wrapper)
    content = load_pickle(tmp_path / 'b.pth')
    assert set(content) == ({'model', 'bert_model'} if source == 'lavt' else {'model'})
    assert any('relative_position_index' in name for name in content['model'])
    assert_same(loaded(source, tmp_path / 'b.pth').state_dict(), model.state_dict())


def test_numbering_of_positions_is_never_taken_from_a_file(tmp_path: Path) -> None:
    state = official_state('rmsin')
    state = {name: torch.zeros_like(t) if 'position_index' in name else t for name, t in state.items()}
    index = loaded('rmsin', save_released(tmp_path / 'a.pth', state)).backbone.stages[0].blocks[0].attn.w_msa
    assert index.relative_position_index.max() == 48
    # Nor missed; a weight is.
    without = {name: t for name, t in state.items() if t.is_floating_point()}
    loaded('rmsin', save_released(tmp_path / 'b.pth', without))
    del without['backbone.layers.0.visual_residual.repblock.brb_identity.running_var']
    with pytest.raises(CheckpointError, match=r'missing: 1 \(backbone\.layers\.0\.visual_residual'):
        loaded('rmsin', save_released(tmp_path / 'c.pth', without))


class Attack:
    def __reduce__(self):
        return print, ('ran',)


@pytest.mark.parametrize('place', ['args', 'lr_scheduler'])
def test_nothing_is_run(place: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = released('rmsin', tmp_path / 'a.pth')
    content = torch.load(path, weights_only=False)
    if place == 'args':
        content['args'].hook = Attack()
    else:
        content['lr_scheduler']['lr_lambdas'] = [Attack()]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r'a\.pth is refused: its pickle asks for print'):
        open_state_dict(path)
    assert 'ran' not in capsys.readouterr().out


def test_a_checkpoint_of_one_network_is_refused_by_the_other(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match='does not fit this model as LAVT weights; missing: '):
        load_into(tiny_model(CONFIGS['rmsin']), ADAPTERS['lavt-one'],
                  open_state_dict(released('lavt-one', tmp_path / 'a.pth')))  # fmt: skip
    with pytest.raises(CheckpointError, match='does not fit this model as RMSIN weights; unknown: '):
        load_into(
            tiny_model(CONFIGS['lavt']), ADAPTERS['rmsin'], open_state_dict(released('rmsin', tmp_path / 'b.pth'))
        )


def test_training_starts_from_swin_and_bert(tmp_path: Path) -> None:
    cfg = shrink(Config.fromfile(ROOT / CONFIGS['rmsin']).model)
    bert = {
        'bert.' + name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta'): t
        for name, t in official_state('bert').items()
        if not name.startswith(('bert.', 'cls.'))
    }
    folder = tmp_path / 'bert-base-uncased'
    folder.mkdir()
    save(bert, folder / 'pytorch_model.bin')
    swin = save(official_state('swin'), tmp_path / 'swin.pth', 'model')
    cfg.init_cfg = [
        dict(type='OfficialWeights', source='swin', checkpoint=str(swin)),
        dict(type='OfficialWeights', source='bert', checkpoint=str(folder)),
    ]
    init_default_scope('mmseg')
    model = MODELS.build(cfg)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    model.init_weights()
    random = random_state('rmsin')
    for name, tensor in model.state_dict().items():
        filled = name.startswith('text_encoder.') or (
            name.startswith('backbone.')
            and not ADAPTERS['swin'].why_new(name)
            and not ADAPTERS['swin'].why_computed(name)
        )
        assert torch.equal(tensor, random[name] if filled else before[name]), name


@pytest.mark.shared
@pytest.mark.parametrize(('source', 'side', 'window'), [('rmsin', 480, 12), ('rmsin', 896, 12), ('lavt-one', 480, 7)])
def test_released_names_and_sizes(shared: Path, source: str, side: int, window: int) -> None:
    """Every name of the release, and no other of ours; the size of the view is read from the file."""
    table = json.loads((shared / f'parity_rmsin/{source.split("-")[0]}_names.json').read_text())
    shapes = {name: tuple(entry['shape']) for name, entry in {**table['parameters'], **table['buffers']}.items()}
    for name, shape in shapes.items():
        if name.endswith('attention.proj.weight') and side == 896:
            shapes[name] = (784, 1080)
        elif name.endswith('attention.proj.bias') and side == 896:
            shapes[name] = (784,)
        elif name.endswith('relative_position_bias_table'):
            shapes[name] = ((2 * window - 1) ** 2, shape[1])
        elif name.endswith('relative_position_index'):
            shapes[name] = (window**2, window**2)
    kinds = {name: getattr(torch, entry.get('dtype', 'float32')) for name, entry in table['buffers'].items()}
    specs = {name: TensorSpec(shape, kinds.get(name, torch.float32)) for name, shape in shapes.items()}
    adapter, file = ADAPTERS[source], SimpleNamespace(path=source, specs=specs)
    init_default_scope('mmseg')
    model = Config.fromfile(ROOT / CONFIGS[source]).model
    fit_architecture(model, adapter, file, official=True)
    assert (model.image_size, model.backbone.arch, model.backbone.window_size) == (side, 'base', window)
    plan = to_ours(adapter, file, config_specs(adapter, model))
    assert len(plan.mapped) == len(specs)
    assert not plan.dropped
    assert not plan.new
    assert all(adapter.table.to_official(ours) == name for ours, name in plan.mapped.items())
