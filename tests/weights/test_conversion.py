"""Published names <-> ours: strict, complete and reversible, through convert.py and init_cfg, at tiny size."""

import csv
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from helpers.paths import ROOT
from helpers.published_weights import (
    CONFIGS,
    DROPPED,
    assert_same,
    official_state,
    random_state,
    save,
    spoil,
    write_shards,
)
from helpers.tiny import TEXT_DIM, TINY_BEIT3, TINY_HIERA, shrink, tiny_model
from rs2sam2.errors import CheckpointError
from rs2sam2.weights.adapters import ADAPTERS, detect, to_ours
from rs2sam2.weights.adapters.adapter import resize_positions
from rs2sam2.weights.files import TensorSpec, open_state_dict
from rs2sam2.weights.loading import OfficialWeights
from rs2sam2.weights.targets import config_specs, fit_architecture

SOURCES = list(ADAPTERS)


@pytest.fixture(scope='module')
def convert(tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """convert.py as a function of its arguments, on tiny configs."""
    path = ROOT / 'tools/model_converters/convert.py'
    spec = importlib.util.spec_from_file_location('convert', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp('configs')
    for source, config in CONFIGS.items():
        cfg = Config.fromfile(ROOT / config)
        cfg.model = shrink(cfg.model)
        cfg.dump(folder / f'{source}.py')

    def run(source: str, src: Path, dst: Path, *options: str) -> Path:
        arguments = [src, dst, '--source', source, '--config', folder / f'{source}.py', *options]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, 'argv', ['convert.py', *map(str, arguments)])
            module.main()
        return dst

    run.configs = folder
    return run


@pytest.mark.parametrize('source', SOURCES)
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_official_to_ours_and_back(source: str, suffix: str, convert: Callable, tmp_path: Path) -> None:
    adapter, official = ADAPTERS[source], official_state(source)
    src = save(official, tmp_path / f'official{suffix}', adapter.wrapper)
    ours = convert(source, src, tmp_path / f'ours{suffix}')
    back = convert(source, ours, tmp_path / f'back{suffix}', '--to-official')
    kept = {name: t for name, t in official.items() if name not in DROPPED[source]}
    assert_same(dict(open_state_dict(back)), kept)
    again = convert(source, back, tmp_path / f'again{suffix}')
    assert_same(dict(open_state_dict(again)), dict(open_state_dict(ours)))
    # Every value arrives under the name that it has in our model.
    model = random_state(source)
    assert_same(dict(open_state_dict(ours)), {name: model[name] for name in open_state_dict(ours)})


@pytest.mark.parametrize('source', ['rs2sam2', 'evf-sam2'])
def test_own_checkpoint_to_official_and_back_is_the_identity(source: str, convert: Callable, tmp_path: Path) -> None:
    ours = random_state(source)
    torch.save(dict(state_dict=ours, meta=dict(epoch=3), optimizer=dict(state={})), tmp_path / 'epoch_3.pth')
    official = convert(source, tmp_path / 'epoch_3.pth', tmp_path / 'model.safetensors', '--to-official')
    back = dict(open_state_dict(convert(source, official, tmp_path / 'ours.pth')))
    new = {name for name in ours if ADAPTERS[source].why_new(name)}
    assert_same(back, {name: t for name, t in ours.items() if name not in new})
    assert {'decode_head.iou_steps', 'decode_head.presence_steps'} <= new


def test_report_counts_every_entry(convert: Callable, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    official = official_state('rs2sam2')
    convert('rs2sam2', save(official, tmp_path / 'a.safetensors'), tmp_path / 'b.pth')
    rows = [line.split('│')[1:4] for line in capsys.readouterr().out.splitlines() if line.startswith('│')]
    counts = {}
    for kind, entries, parameters in ([cell.strip().replace(',', '') for cell in row] for row in rows):
        if kind:
            old = counts.get(kind, (0, 0))
            counts[kind] = (old[0] + int(entries), old[1] + int(parameters or 0))
    n = len(DROPPED['rs2sam2'])
    assert counts['dropped'] == (n, 3 * n)
    assert counts['mapped'] == (len(official) - n, sum(t.numel() for t in official.values()) - 3 * n)
    assert counts['new'][0] == 2


BROKEN = {
    'rs2sam2': 'visual_model.image_encoder.trunk.blocks.2.Space_Adapter.text_in_linear.weight',
    'beit3': 'beit3.encoder.layers.1.ffn.B.ffn_layernorm.bias',
    'sam2': 'sam_mask_decoder.transformer.layers.1.norm2.weight',
    'evf-sam2': 'text_hidden_fcs.0.2.weight',
    'clip': 'vision_model.pre_layrnorm.bias',
    'siglip': 'text_model.encoder.layers.1.mlp.fc1.weight',
    'swin': 'layers.1.blocks.1.mlp.fc2.bias',
    'bert': 'encoder.layer.1.attention.self.key.weight',
    'lavt-one': 'backbone.layers.2.fusion.image_lang_att.W.0.weight',
    'lavt': 'bert_model.encoder.layer.0.output.LayerNorm.bias',
    'rmsin': 'backbone.cim.block.0.intra_ff.m.ff3.m.bn2.running_var',
}


@pytest.mark.parametrize('source', SOURCES)
@pytest.mark.parametrize('how', ['missing', 'renamed', 'extra', 'shape', 'transposed', 'integer', 'nan', 'inf', '-inf'])
def test_spoiled_source_is_refused_by_name(source: str, how: str, convert: Callable, tmp_path: Path) -> None:
    state = official_state(source)
    named = spoil(state, how, BROKEN[source])
    src = save(state, tmp_path / 'src.safetensors')
    dst = tmp_path / 'dst.pth'
    dst.write_bytes(b'as it was')
    with pytest.raises(CheckpointError, match=r'src\.safetensors') as error:
        convert(source, src, dst)
    assert named in str(error.value)
    assert '\n' not in str(error.value)
    assert dst.read_bytes() == b'as it was'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['dst.pth', 'src.safetensors']


@pytest.mark.parametrize('how', ['missing', 'extra', 'shape', 'nan'])
def test_spoiled_own_checkpoint_is_refused_on_the_way_back(how: str, convert: Callable, tmp_path: Path) -> None:
    state = random_state('rs2sam2')
    named = spoil(state, how, 'neck.slots.0.fusion.down.weight')
    torch.save(dict(state_dict=state), tmp_path / 'src.pth')
    with pytest.raises(CheckpointError) as error:
        convert('rs2sam2', tmp_path / 'src.pth', tmp_path / 'dst.safetensors', '--to-official')
    assert named in str(error.value)
    assert not (tmp_path / 'dst.safetensors').exists()


def test_lora_updates_are_not_lost_on_the_way_back(convert: Callable, tmp_path: Path) -> None:
    state = {**random_state('rs2sam2'), 'union_encoder.layers.0.ffn.text.fc1.lora_A.default.weight': torch.ones(2, 32)}
    torch.save(dict(state_dict=state), tmp_path / 'src.pth')
    with pytest.raises(CheckpointError, match=r'src\.pth holds LoRA updates.*merge_lora\.py'):
        convert('rs2sam2', tmp_path / 'src.pth', tmp_path / 'dst.safetensors', '--to-official')


def test_many_keys_are_counted_and_the_first_five_named(convert: Callable, tmp_path: Path) -> None:
    state = {name: t for name, t in official_state('beit3').items() if '.layers.1.' not in name}
    with pytest.raises(CheckpointError, match=r'missing: 40 \(.*, \.\.\.\)') as error:
        convert('beit3', save(state, tmp_path / 'a.safetensors'), tmp_path / 'b.pth')
    assert str(error.value).count('encoder.layers.1.') == 5


@pytest.mark.parametrize('prefix', ['evf_model.', 'module.', 'module.evf_model.'])
def test_prefixes_of_training_wrappers(prefix: str, convert: Callable, tmp_path: Path) -> None:
    official = official_state('rs2sam2')
    plain = convert('rs2sam2', save(official, tmp_path / 'a.safetensors'), tmp_path / 'a.pth')
    prefixed = save({prefix + name: t for name, t in official.items()}, tmp_path / 'pytorch_model.bin')
    assert_same(dict(open_state_dict(convert('rs2sam2', prefixed, tmp_path / 'b.pth'))), dict(open_state_dict(plain)))
    twice = save({**official, prefix + 'mask_linear.bias': torch.ones(32)}, tmp_path / 'twice.bin')
    with pytest.raises(CheckpointError, match=r'mask_linear\.bias'):
        convert('rs2sam2', twice, tmp_path / 'c.pth')


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16'])
def test_dtype(dtype: str, convert: Callable, tmp_path: Path) -> None:
    official = official_state('rs2sam2')
    src = save(official, tmp_path / 'model.safetensors')
    dst = convert('rs2sam2', src, tmp_path / 'ours.safetensors', '--dtype', dtype)
    file = open_state_dict(dst)
    assert {spec.dtype for spec in file.specs.values()} == {getattr(torch, dtype)}
    model = tiny_model().eval()
    OfficialWeights('rs2sam2', str(dst))(model)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    name = 'visual_model.no_mem_embed'
    assert torch.equal(model.decode_head.no_mem_embed.data, official[name].to(getattr(torch, dtype)).float())


@pytest.mark.parametrize(('value', 'dtype'), [(-7e4, 'float16'), (1e39, 'float32'), (1e39, 'bfloat16'), (1e39, None)])
def test_numbers_that_the_dtype_cannot_hold(value: float, dtype: str | None, convert: Callable, tmp_path: Path) -> None:
    """Finite in the file; without --dtype they would be infinite in the model."""
    official = {name: tensor.double() for name, tensor in official_state('rs2sam2').items()}
    official['visual_model.no_mem_embed'].fill_(value)
    src = save(official, tmp_path / 'model.pth')
    with pytest.raises(CheckpointError, match=r'no_mem_embed holds numbers up to .*would become infinite'):
        convert('rs2sam2', src, tmp_path / 'ours.pth', *(('--dtype', dtype) if dtype else ()))
    assert not (tmp_path / 'ours.pth').exists()


def test_command_line_exits_with_one_line(convert: Callable, tmp_path: Path) -> None:
    state = official_state('sam2')
    del state['no_mem_embed']
    src = save(state, tmp_path / 'sam2.pt', 'model')
    command = [ROOT / 'tools/model_converters/convert.py', src, tmp_path / 'dst.pth', '--source', 'sam2']
    command += ['--config', convert.configs / 'sam2.py']
    result = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True)
    assert result.returncode == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith('error:')]
    assert len(errors) == 1
    assert 'no_mem_embed' in errors[0]
    assert 'Traceback' not in result.stderr
    assert not (tmp_path / 'dst.pth').exists()


@pytest.mark.parametrize('source', SOURCES)
def test_names_tell_the_source(source: str) -> None:
    names = [*official_state(source), 'one.unknown.name']
    assert detect(ADAPTERS, names) is ADAPTERS[source]
    assert detect(ADAPTERS, ['backbone.conv1.weight', 'backbone.bn1.bias']) is None


@pytest.mark.shared
@pytest.mark.parametrize(
    ('source', 'keys', 'mapped', 'dropped'),
    [('rs2sam2', 'official_keys.tsv', 2693, 160), ('evf-sam2', 'evf_sam2_keys.tsv', 1717, 158)],
)
def test_released_names(shared: Path, source: str, keys: str, mapped: int, dropped: int) -> None:
    with (shared / 'parity' / keys).open() as f:
        rows = list(csv.DictReader(f, delimiter='\t'))
    specs = {r['name']: TensorSpec(tuple(map(int, r['shape'].split('x'))), torch.float32) for r in rows}
    file = SimpleNamespace(path=keys, specs=specs)
    adapter, cfg = ADAPTERS[source], Config.fromfile(ROOT / CONFIGS[source])
    plan = to_ours(adapter, file, config_specs(adapter, cfg.model))
    assert (len(plan.mapped), len(plan.dropped)) == (mapped, dropped)
    unused = {r['name'] for r in rows if r.get('used') == 'no'}
    assert not unused or set(plan.dropped) == unused
    assert all(adapter.table.to_official(ours) == name for ours, name in plan.mapped.items())


def test_positions_are_resized_bicubically(convert: Callable, tmp_path: Path) -> None:
    state = official_state('beit3')
    name = 'beit3.encoder.embed_positions.A.weight'
    # A linear ramp stays one under bicubic resizing, away from the border.
    ramp = torch.arange(8.0)[:, None].expand(8, 8).reshape(64, 1).expand(64, TINY_BEIT3['dim'])
    state[name] = torch.cat((state[name][:3], ramp))
    convert('beit3', save(state, tmp_path / 'a.pth', 'model'), tmp_path / 'b.pth')
    table = open_state_dict(tmp_path / 'b.pth')['union_encoder.positions.vision.weight']
    assert torch.equal(table[:3], state[name][:3])
    grid = table[3:, 0].view(4, 4)
    torch.testing.assert_close(grid[1:3, 1:3], torch.tensor([[2.5, 2.5], [4.5, 4.5]]), atol=0.1, rtol=0)
    assert grid.std(dim=1).max() < 1e-5
    same = torch.randn(19, 5)
    assert torch.equal(resize_positions(same, 19), same)
    state[name] = torch.randn(3 + 60, TINY_BEIT3['dim'])
    with pytest.raises(CheckpointError, match=r'embed_positions\.A\.weight is 63x32, expected 19x32'):
        convert('beit3', save(state, tmp_path / 'a.pth', 'model'), tmp_path / 'c.pth')


def test_a_whole_model_trains_at_another_resolution_where_that_is_asked_for(tmp_path: Path) -> None:
    state, ours = official_state('rs2sam2'), 'union_encoder.positions.vision.weight'
    name = ADAPTERS['rs2sam2'].table.to_official(ours)
    state[name] = torch.randn(3 + 64, TINY_BEIT3['dim'])
    path = str(save(state, tmp_path / 'model.safetensors'))
    with pytest.raises(CheckpointError, match=r'embed_positions\.A\.weight is 67x32, expected 19x32'):
        OfficialWeights('rs2sam2', path)(tiny_model())
    model = tiny_model()
    OfficialWeights('rs2sam2', path, resize_positions=True)(model)
    assert torch.equal(model.state_dict()[ours], resize_positions(state[name], 19))


@pytest.mark.parametrize(('arch', 'width', 'depth'), [('base', 768, 12), ('large', 1024, 24)])
@pytest.mark.parametrize('image_size', [224, 384, 480])
def test_beit3_size_is_read_from_the_file(arch: str, width: int, depth: int, image_size: int) -> None:
    init_default_scope('mmseg')
    with torch.device('meta'):
        encoder = MODELS.build(dict(type='BEiT3UnionEncoder', arch=arch, image_size=image_size))
    adapter = ADAPTERS['beit3']
    specs = {
        adapter.table.to_official('union_encoder.' + name): TensorSpec(tuple(t.shape), t.dtype)
        for name, t in encoder.state_dict().items()
    }
    model = Config.fromfile(ROOT / CONFIGS['beit3']).model
    file = SimpleNamespace(path='beit3.pth', specs=specs)
    fit_architecture(model, adapter, file, official=True)
    assert (model.union_encoder.arch, model.union_encoder.image_size) == (arch, image_size)
    plan = to_ours(adapter, file, config_specs(adapter, model))
    assert len(plan.mapped) == len(specs)
    assert not plan.resized


def test_init_cfg_of_the_whole_model(tmp_path: Path) -> None:
    beit3, sam2 = official_state('beit3'), official_state('sam2')
    cfg = shrink(Config.fromfile(ROOT / CONFIGS['rs2sam2']).model)
    cfg.init_cfg = [
        dict(type='OfficialWeights', source='beit3', checkpoint=str(save(beit3, tmp_path / 'beit3.pth', 'model'))),
        dict(type='OfficialWeights', source='sam2', checkpoint=str(save(sam2, tmp_path / 'sam2.pt', 'model'))),
    ]
    model = MODELS.build(cfg)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    model.init_weights()
    after, random = model.state_dict(), random_state('rs2sam2')
    for name, tensor in after.items():
        filled = name.startswith(('union_encoder.', 'backbone.')) or (
            name.startswith('decode_head.') and not ADAPTERS['sam2'].why_new(name)
        )
        assert torch.equal(tensor, random[name] if filled else before[name]), name


def test_init_cfg_of_components_and_in_a_plain_segmentor(convert: Callable, tmp_path: Path) -> None:
    random = random_state('rs2sam2')
    published = str(save(official_state('sam2'), tmp_path / 'sam2.pt', 'model'))
    released = str(save(official_state('rs2sam2'), tmp_path / 'model.safetensors'))
    converted = str(convert('sam2', Path(published), tmp_path / 'converted.pth'))
    backbone = dict(type='SAM2Hiera', arch=TINY_HIERA, out_channels=TEXT_DIM)
    for source, checkpoint in (('sam2', published), ('sam2', converted), ('rs2sam2', released)):
        init_cfg = dict(type='OfficialWeights', source=source, checkpoint=checkpoint)
        segmentor = MODELS.build(
            dict(
                type='EncoderDecoder',
                backbone=dict(backbone, init_cfg=init_cfg),
                decode_head=dict(
                    type='FCNHead', in_channels=TEXT_DIM, channels=8, num_classes=2, norm_cfg=dict(type='BN')
                ),
            )
        )
        segmentor.init_weights()
        for name, tensor in segmentor.backbone.state_dict().items():
            assert torch.equal(tensor, random['backbone.' + name]), name
    cfg = shrink(Config.fromfile(ROOT / CONFIGS['rs2sam2']).model)
    for part in ('union_encoder', 'decode_head'):
        cfg[part].init_cfg = dict(type='OfficialWeights', source='rs2sam2', checkpoint=released)
    model = MODELS.build(cfg)
    model.init_weights()
    for name, tensor in model.state_dict().items():
        if name.startswith(('union_encoder.', 'decode_head.')):
            assert torch.equal(tensor, random[name]), name


def test_init_cfg_refuses_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r'beit3\.pth is missing: BEiT-3 weights, published at github.com/micro'):
        OfficialWeights('beit3', 'pretrained/nowhere/beit3.pth')(tiny_model())
    path = save(official_state('sam2'), tmp_path / 'sam2.pt', 'model')
    with pytest.raises(CheckpointError, match='Linear has no part that SAM 2 weights fill'):
        OfficialWeights('sam2', str(path))(nn.Linear(2, 2))
    model = tiny_model()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with pytest.raises(CheckpointError, match='does not fit this model as RS2-SAM2 weights; unknown: '):
        OfficialWeights('rs2sam2', str(path))(model)
    assert_same(model.state_dict(), before)
    # RS2-SAM2's fusion has no place in a model without it: refused, not skipped.
    released = save(official_state('rs2sam2'), tmp_path / 'model.safetensors')
    with pytest.raises(CheckpointError, match=r'unknown: \d+ \(mask_linear'):
        OfficialWeights('rs2sam2', str(released))(tiny_model(CONFIGS['evf-sam2']))


@pytest.mark.parametrize('suffix', ['.safetensors', '.bin'])
def test_folder_of_shards(suffix: str, convert: Callable, tmp_path: Path) -> None:
    official = official_state('evf-sam2')
    folder = tmp_path / 'evf-sam2'
    folder.mkdir()
    write_shards(official, folder, suffix)
    ours = convert('evf-sam2', folder, tmp_path / 'ours.pth')
    plain = convert('evf-sam2', save(official, tmp_path / 'model.safetensors'), tmp_path / 'plain.pth')
    assert_same(dict(open_state_dict(ours)), dict(open_state_dict(plain)))
