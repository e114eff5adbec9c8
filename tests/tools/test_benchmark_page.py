"""docs/benchmark.md is what its data say; every number has a source, every one of ours a command that exists."""

import copy
import re
import runpy
import shlex

import pytest
import yaml

from helpers.paths import CONFIGS, ROOT
from rs2sam2.errors import DataError

TOOL = runpy.run_path(str(ROOT / 'tools/misc/write_benchmark_page.py'))


@pytest.fixture(scope='module')
def data():
    return TOOL['read_data']()


def written(tmp_path, data):
    path = tmp_path / 'benchmark.yml'
    path.write_text(yaml.safe_dump(data))
    return path


def test_the_page_is_what_the_script_writes(data):
    assert (ROOT / 'docs/benchmark.md').read_text() == TOOL['Page'](data).text()


def test_every_published_number_is_on_the_page_with_its_source(data):
    text = (ROOT / 'docs/benchmark.md').read_text()
    numbers = {key: place for place, key in enumerate(data['sources'], 1)}
    for table in data['published']:
        section = text.split(f'## {table["dataset"]}, {table["split"]}\n')[1].split('\n## ')[0]
        for row in table['rows']:
            shown = [f'{value:.2f}' for value in row['values'] if value is not None]
            (line,) = (
                line
                for line in section.splitlines()
                if line.startswith(f'| {row["method"]} |') and all(value in line for value in shown)
            )
            assert f'[{numbers[row["source"]]}]' in line
    assert len(text.split('## Sources')[1].strip().splitlines()) == len(numbers)


def test_every_method_of_the_zoo_with_published_scores_has_the_same_here(data):
    """The metafile prints published scores too: one number, not two."""
    rows = {
        (t['dataset'], t['split'], r['method']): r['values'] for t in data['published'] for r in reversed(t['rows'])
    }
    names = {
        'rs2sam2_rrsisd': 'RS2-SAM2',
        'rs2sam2_refsegrs': 'RS2-SAM2',
        'lavt_rrsisd': 'LAVT',
        'rmsin_rrsisd': 'RMSIN',
    }
    models = {one['Name']: one for one in yaml.safe_load((ROOT / 'configs/metafile.yml').read_text())['Models']}
    for model, method in names.items():
        (result,) = models[model]['Results']
        dataset, split = result['Dataset'].split()
        o_iou, m_iou = rows[dataset, split, method][-2:]
        assert result['Metrics'] == {'mIoU': m_iou, 'oIoU': o_iou}


def test_our_numbers_name_commands_that_exist(data):
    for _, entry in TOOL['measurements'](data):
        words = shlex.split(entry['command'].replace('\\\n', ' '), comments=True)
        scripts = [word for word in words if word.startswith('tools/') and word.endswith('.py')]
        assert scripts, entry['command']
        configs = [word for word in words if re.fullmatch(r'configs/[\w/]+\.py', word)]
        assert all((ROOT / word).is_file() for word in [*scripts, *configs])
        assert 'TODO' not in yaml.safe_dump(entry)
    named = {f'configs/{one["config"]}.py' for one in data['methods'].values() if 'config' in one}
    assert named <= set(CONFIGS)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda data: data['published'][0]['rows'][3].pop('source'), 'LAVT has the source None'),
        (
            lambda data: data['methods']['RMSIN']['cost'].update(source='hearsay'),
            "RMSIN: cost has the source 'hearsay'",
        ),
        (lambda data: data['published'][2]['rows'][0]['values'].pop(), 'give 7 values'),
        (lambda data: data['published'][2]['rows'][0].update(method='nobody'), 'describe the method'),
        (lambda data: data['measured']['costs'].pop('command'), 'costs was measured here and has no command'),
    ],
)
def test_a_number_without_source_is_refused(tmp_path, data, change, message):
    broken = copy.deepcopy(data)
    change(broken)
    with pytest.raises(DataError, match=re.escape(message)):
        TOOL['read_data'](written(tmp_path, broken))


def test_the_picture_shows_every_method_with_score_and_cost(data):
    shown = TOOL['points'](data)
    assert {'RS2-SAM2', 'RMSIN', 'LAVT', 'RSRefSeg 2', 'DiCoR'} <= shown.keys()
    assert shown['RS2-SAM2'][2]
    assert not shown['RMSIN'][2]
    texts = {text.get_text() for text in TOOL['draw'](data).axes[0].texts}
    assert texts == shown.keys()


@pytest.mark.slow
def test_our_costs_are_what_the_models_have(data):
    """What get_flops.py prints; the models are built on the meta device, nothing is computed."""
    import torch

    from rs2sam2.engine.measure import count_flops, random_batch, random_model, read_config

    for name, ours in data['measured']['costs']['rows'].items():
        model = random_model(
            read_config(str(ROOT / f'configs/{data["methods"][name]["config"]}.py'), False, None), 'meta'
        )
        model.eval()
        batch = random_batch(model, 1, 20, 'meta')
        with torch.no_grad():
            flops = count_flops(lambda model=model, batch=batch: model(batch, mode='tensor'), model)['']
        assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(ours['parameters'], abs=0.051)
        assert flops / 1e9 == pytest.approx(ours['operations'], abs=0.051)
