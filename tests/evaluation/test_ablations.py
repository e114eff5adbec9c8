"""The variants of an ablation compute what they say; the tool that runs a list of configs."""

import runpy
import shutil
import sys

import pytest
import torch
from mmengine.config import Config

from helpers.paths import ROOT
from helpers.tiny import random_batch, tiny_model
from rs2sam2.errors import DataError
from rs2sam2.evaluation.ablation import ablation_figure, ablation_table
from rs2sam2.evaluation.results import SampleResult, write_results
from rs2sam2.models.common.attention import CrossAttention
from rs2sam2.models.rs2sam2.fusion import BidirectionalHierarchicalFusion, PooledLinear
from rs2sam2.models.rs2sam2.mask_prompt import MaskPromptGenerator
from rs2sam2.structures import TextState

FOLDER = ROOT / 'configs/ablations'
ROWS = sorted(path.stem for path in (FOLDER / 'refsegrs').glob('*.py'))


def text_state(lengths=(3, 7), dim=12):
    torch.manual_seed(0)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return TextState(torch.randn(len(lengths), max(lengths), dim), mask)


@pytest.mark.parametrize('row', ROWS)
@pytest.mark.parametrize('folder', ['refsegrs', 'demo'])
def test_an_ablation_only_switches_off(folder, row):
    """Every parameter of a row's model is in the full model too, unless the row replaces the attentions."""
    full = tiny_model('configs/rs2sam2_refsegrs.py' if folder == 'refsegrs' else 'configs/ablations/demo/full.py')
    part = tiny_model(f'configs/ablations/{folder}/{row}.py')
    names = {name for name, _ in part.named_parameters()}
    if row == 'bhfm_linear':
        names = {name for name in names if '_reads_' not in name}
    more = names - {name for name, _ in full.named_parameters()}
    assert not more
    learning = [{n for n, p in model.named_parameters() if p.requires_grad} for model in (full, part)]
    assert learning[1] != learning[0]


def test_both_folders_have_the_same_rows():
    assert {path.stem for path in (FOLDER / 'demo').glob('*.py')} - {'full'} == set(ROWS)


@pytest.mark.parametrize('row', ROWS)
def test_a_row_changes_the_model_alone(row):
    for folder, full in (('refsegrs', ROOT / 'configs/rs2sam2_refsegrs.py'), ('demo', FOLDER / 'demo/full.py')):
        base, part = Config.fromfile(full), Config.fromfile(FOLDER / folder / f'{row}.py')
        assert {key for key in base if base[key] != part[key]} == {'model'}


def test_pooled_linear_reads_the_mean_of_what_counts():
    text = text_state()
    module = PooledLinear(12)
    query = torch.randn(2, 5, 12)
    got = module(query, text.tokens, text.mask, residual=query)
    for i, length in enumerate((3, 7)):
        want = query[i] + module.linear(text.tokens[i, :length].mean(0))
        torch.testing.assert_close(got[i], want)
    torch.testing.assert_close(module(query, text.tokens[:, :3]), module(query, text.tokens[:, :3], text.mask[:, :3]))


@pytest.mark.parametrize('reader', ['attention', 'linear'])
@pytest.mark.parametrize('update', [True, False])
def test_one_way_fusion_never_changes_the_text(reader, update):
    neck = BidirectionalHierarchicalFusion([16, 16], text_dim=12, num_heads=2, reader=reader, update_text=update)
    state, feature = text_state(), torch.randn(2, 4, 4, 16)
    after = [slot.fusion(feature, state)[1] for slot in neck.slots]
    assert torch.equal(after[0].tokens, state.tokens) is not update
    assert torch.equal(after[1].tokens, state.tokens)


@pytest.mark.parametrize('reader', ['attention', 'linear'])
def test_padding_changes_no_reader(reader):
    neck = BidirectionalHierarchicalFusion([16, 16], text_dim=12, num_heads=2, reader=reader)
    state, feature = text_state(), torch.randn(2, 4, 4, 16)
    batched, text = neck.slots[0].fusion(feature, state)
    alone, text_alone = neck.slots[0].fusion(feature[:1], TextState(state.tokens[:1, :3], state.mask[:1, :3]))
    torch.testing.assert_close(batched[:1], alone)
    torch.testing.assert_close(text.tokens[:1, :3], text_alone.tokens)


def test_neck_without_adapters_and_unknown_reader():
    neck = BidirectionalHierarchicalFusion([16, 16], text_dim=12, num_heads=2, adapters=False)
    assert all(slot.adapter is None for slot in neck.slots)
    assert isinstance(neck.slots[0].fusion.image_reads_text, CrossAttention)
    with pytest.raises(ValueError, match='attention'):
        BidirectionalHierarchicalFusion([16], reader='mlp')


def test_generator_without_attention_reads_cls_alone():
    torch.manual_seed(0)
    generator = MaskPromptGenerator(8, 2, cross_attention=False)
    cls, patches = torch.randn(2, 1, 8), torch.randn(2, 9, 8)
    want = (generator.score(patches * generator.mix(cls))).sigmoid()[..., 0]
    torch.testing.assert_close(generator(cls, patches).flatten(1), want)


def test_the_one_way_model_runs_batched_as_alone():
    model = tiny_model('configs/ablations/refsegrs/bhfm_one_way.py').eval()
    batch = random_batch()
    with torch.no_grad():
        batched = model(batch, mode='tensor').mask_logits
        alone = model(type(batch)(*(part[:1] for part in batch)), mode='tensor').mask_logits
    torch.testing.assert_close(batched[:1], alone, atol=1e-5, rtol=1e-4)


def results(shift: float, count: int = 12):
    rows = []
    for i in range(count):
        hit = min(100, int(20 + 5 * i + 10 * shift))
        rows.append(
            SampleResult(
                sample_id=str(i), img_path=f'{i // 2}.png', expression='the ship', category='ship', no_target=False,
                protocol='native', intersection=hit, union=100, iou=hit / 100, target_share=0.1,
            )
        )  # fmt: skip
    return rows


def test_table_and_figure_compare_with_the_first_run(tmp_path):
    runs = {'full': results(0), 'without': results(-1)}
    table = ablation_table(runs, samples=50)
    lines = [line for line in table.splitlines() if line.startswith('|')]
    assert '47.50' in lines[2]
    # Every sample loses the same 10 points: the paired interval has no width.
    assert '-10.00 to -10.00' in lines[3]
    ablation_figure(runs, tmp_path / 'figure.png')
    assert (tmp_path / 'figure.png').stat().st_size > 5000
    with pytest.raises(DataError, match='only one'):
        ablation_table({'full': results(0), 'short': results(0, 10)})


def run_ablate(monkeypatch, *args):
    monkeypatch.setattr(sys, 'argv', ['ablate.py', *map(str, args)])
    runpy.run_path(str(ROOT / 'tools/analysis_tools/ablate.py'), run_name='__main__')


def test_tool_takes_what_is_done_and_refuses_bad_lists(tmp_path, monkeypatch, capsys):
    configs = []
    for name, shift in (('full', 0), ('without', -1)):
        configs.append(tmp_path / f'{name}.py')
        configs[-1].write_text('')
        write_results(results(shift), tmp_path / 'runs' / name / 'test/results.jsonl')
    run_ablate(monkeypatch, *configs, '--work-dir', tmp_path / 'runs')
    assert '-10.00' in capsys.readouterr().out
    assert '-10.00' in (tmp_path / 'runs/table.md').read_text()
    assert (tmp_path / 'runs/table.png').is_file()
    (tmp_path / 'other').mkdir()
    shutil.copy(configs[0], tmp_path / 'other/full.py')
    for bad, said in ((tmp_path / 'other/full.py', 'two configs are called full'), ('nowhere.py', 'no such config')):
        with pytest.raises(SystemExit) as stop:
            run_ablate(monkeypatch, configs[0], bad, '--work-dir', tmp_path / 'runs')
        assert stop.value.code == 2
        assert said in capsys.readouterr().err
