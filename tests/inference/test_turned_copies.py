"""Test-time augmentation: averages over turned copies, in the inferencer, the tools, a scene and on two processes."""

import json

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from PIL import Image

from helpers.paths import ROOT
from helpers.training_site import run
from helpers.work_dirs import make_image, make_work_dir
from rs2sam2 import RS2SAM2Inferencer
from rs2sam2.datasets.transforms.turning import turned_pipeline
from rs2sam2.errors import ConfigError
from rs2sam2.inference import InferencerWindowPredictor
from rs2sam2.inference.points import point_prompts, turn_prompts
from rs2sam2.models.averaging import average_turned
from rs2sam2.structures import RefSegDataSample
from rs2sam2.symmetry import SYMMETRIES, order_elements
from rs2sam2.text.directions import turn

EXPRESSIONS = ['the red ship', 'ship on the left', 'the harbor on the left in the middle']
REFUSED = 'the ship left'


@pytest.fixture(scope='module')
def inferencer(tmp_path_factory):
    return RS2SAM2Inferencer(make_work_dir(tmp_path_factory.mktemp('model') / 'run'), tta='all')


@pytest.fixture(scope='module')
def refinable(tmp_path_factory):
    folder = make_work_dir(tmp_path_factory.mktemp('refinable') / 'run', point_prompts=True)
    return RS2SAM2Inferencer(folder, tta=['rot90', 'flip_horizontal'])


@pytest.fixture(scope='module')
def pixels(tmp_path_factory):
    return np.asarray(Image.open(make_image(tmp_path_factory.mktemp('images') / 'a.png')))


def by_hand(inferencer, pixels, expression, elements, **prompts):
    """The mean of what the plain model says of copies that were turned here."""
    plain = inferencer.with_tta(None)
    logits = []
    for name in elements:
        symmetry = SYMMETRIES[name]
        copy = np.ascontiguousarray(symmetry.apply(pixels, 0, 1))
        found = plain(copy, turn(expression, name, 'on the top'), **{k: v(symmetry) for k, v in prompts.items()})[0]
        logits.append(symmetry.inverse.apply(found.logits))
    return np.mean(logits, axis=0)


@pytest.mark.parametrize('expression', EXPRESSIONS)
def test_the_average_of_all_eight(inferencer, pixels, expression):
    result = inferencer(pixels, expression)[0]
    assert result.averaged_over == tuple(SYMMETRIES)
    np.testing.assert_allclose(result.logits, by_hand(inferencer, pixels, expression, SYMMETRIES), atol=1e-5)
    np.testing.assert_array_equal(result.mask, result.probability > 0.5)
    assert result.size == pixels.shape[:2]
    assert result.expression == expression
    assert result.to_dict()['averaged_over'] == list(SYMMETRIES)


def test_the_identity_alone_is_the_plain_result(inferencer, pixels):
    plain, identity = inferencer.with_tta(None), inferencer.with_tta('identity')
    for expression in EXPRESSIONS:
        one, other = plain(pixels, expression)[0], identity(pixels, expression)[0]
        for name in ('logits', 'mask', 'pseudo_mask'):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.to_dict() == other.to_dict()


def test_what_cannot_be_turned_is_left_out_and_said(inferencer, pixels):
    result = inferencer(pixels, REFUSED)[0]
    assert result.averaged_over == ('identity',)
    np.testing.assert_array_equal(result.logits, inferencer.with_tta(None)(pixels, REFUSED)[0].logits)
    (note,) = result.notes
    assert note.startswith('not turned by rot90, rot180')
    assert 'word of direction' in note


@pytest.mark.parametrize('batch_size', [2, 4])
def test_batches_agree_with_one_by_one(inferencer, pixels, batch_size):
    expressions = [*EXPRESSIONS, REFUSED]
    alone = [inferencer(pixels, text)[0] for text in expressions]
    for one, other in zip(alone, inferencer(pixels, expressions, batch_size=batch_size), strict=True):
        assert one.averaged_over == other.averaged_over
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)


def test_points_and_boxes_turn_too(refinable, pixels):
    size = pixels.shape[:2]
    names = ('identity', 'rot90', 'flip_horizontal')
    prompts = dict(point=[(8, 9), (30, 20, 0)], box=(4, 3, 20, 25))
    result = refinable(pixels, EXPRESSIONS[0], **prompts)[0]
    assert result.averaged_over == names
    assert np.abs(result.logits - refinable(pixels, EXPRESSIONS[0])[0].logits).max() > 1e-3
    # A click lies in the middle of a pixel of the view, which is 64 pixels wide.
    half_y, half_x = size[0] / 64 / 2, size[1] / 64 / 2

    def click(symmetry, x, y, *label):
        x, y = symmetry.point(x + half_x, y + half_y, *size)
        over_y, over_x = (half_x, half_y) if symmetry.transposed else (half_y, half_x)
        return x - over_x, y - over_y, *label

    def box(symmetry):
        (x0, y0), (x1, y1) = click(symmetry, *prompts['box'][:2]), click(symmetry, *prompts['box'][2:])
        return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)

    expected = by_hand(
        refinable, pixels, EXPRESSIONS[0], names,
        point=lambda symmetry: [click(symmetry, *one) for one in prompts['point']], box=box,
    )  # fmt: skip
    np.testing.assert_allclose(result.logits, expected, atol=1e-4)


@pytest.mark.parametrize('element', SYMMETRIES)
def test_turned_prompts_mark_the_same_pixels(element):
    view = torch.arange(64 * 64).reshape(64, 64)
    points = point_prompts((2, 4, 20, 40), [(0, 0), (63, 5, 0)], (64, 64), (64, 64))
    turned = turn_prompts(points, element, (64, 64))
    picture = SYMMETRIES[element].apply(view)
    for (x, y), (u, v) in zip(points.coords[0, 2:].tolist(), turned.coords[0, 2:].tolist(), strict=True):
        assert picture[int(v), int(u)] == view[int(y), int(x)]
    (x0, y0), (x1, y1) = turned.coords[0, :2].tolist()
    assert (x0 < x1, y0 < y1) == (True, True)
    assert sorted((x1 - x0, y1 - y0)) == [18, 36]
    assert turned.labels.tolist() == points.labels.tolist()


def test_windows_of_a_scene(inferencer, pixels):
    windows = [pixels, pixels[::-1].copy()]
    found = InferencerWindowPredictor(inferencer).predict(windows, EXPRESSIONS[1])
    for window, logits in zip(windows, found, strict=True):
        alone = inferencer(window, EXPRESSIONS[1])[0]
        np.testing.assert_allclose(1 / (1 + np.exp(-logits)), alone.probability, atol=1e-5)


def test_scores_are_means_and_none_stays_none():
    def sample(value, presence):
        one = RefSegDataSample(metainfo=dict(ori_shape=(8, 8)))
        one.seg_logits = PixelData(data=torch.full((1, 4, 4), value))
        one.set_field(value, 'pred_iou')
        one.set_field(presence, 'presence')
        return one

    merged = average_turned([sample(0.5, None), sample(-0.1, 0.5)], ['identity', 'rot90'])
    assert merged.pred_iou == pytest.approx(0.2)
    assert merged.presence is None
    assert merged.pred_sem_seg.data.all()


def test_elements_are_checked_and_ordered(inferencer):
    assert order_elements(['rot90', 'rot90']) == ('identity', 'rot90')
    assert inferencer.with_tta('flip_vertical, rot90').turning.elements == ('identity', 'rot90', 'flip_vertical')
    with pytest.raises(ConfigError, match='rot45'):
        inferencer.with_tta('rot45')
    steps = [dict(type='LoadRGBImage'), dict(type='LoadReferringMask'), dict(type='Views'), dict(type='Pack')]
    loads, (tta,) = turned_pipeline(steps, ['rot90'])[:2], turned_pipeline(steps, ['rot90'])[2:]
    assert loads == steps[:2]
    assert [len(group) for group in tta['transforms']] == [2, 1, 1]


@pytest.fixture(scope='module')
def trained(site):
    run(ROOT / 'tools/train.py', 'config.py', '--work-dir', 'work', cwd=site)
    return site


def rows_of(site, out, processes, *args):
    """Results of a test, and which symmetries each row was averaged over."""
    test = (ROOT / 'tools/test.py', 'config.py', 'work/epoch_1.pth', '--work-dir', out, '--out', out)
    run(*test, *args, processes=processes, cwd=site)
    rows = [json.loads(line) for line in (site / out / 'results.jsonl').read_text().splitlines()]
    rows.sort(key=lambda row: row['sample_id'])
    return rows, [row.pop('averaged_over') for row in rows]


def test_the_tool_alone_and_on_two_processes(trained):
    plain, none = rows_of(trained, 'plain', 0)
    identity, one = rows_of(trained, 'identity', 0, '--tta', 'identity')
    assert plain == identity
    assert set(none) == {None}
    assert set(one) == {'identity'}
    whole, eight = rows_of(trained, 'all', 0, '--tta')
    assert whole != plain
    assert set(eight) == {' '.join(SYMMETRIES)}
    # Other batches than in one process: equal but for the last digits.
    two, _ = rows_of(trained, 'two', 2, '--tta')
    assert [row['sample_id'] for row in whole] == [row['sample_id'] for row in two] == [r['sample_id'] for r in plain]
    for one, other in zip(whole, two, strict=True):
        assert [one[name] for name in ('intersection', 'union')] == [other[name] for name in ('intersection', 'union')]
        assert one['presence'] == pytest.approx(other['presence'], abs=1e-5)


def test_a_pipeline_of_the_configs_own(trained):
    text = (trained / 'config.py').read_text()
    own = 'tta_pipeline = [*test_dataloader["dataset"]["pipeline"][:2], dict(type="TestTimeAug", transforms=[[{}], '
    own += '*[[step] for step in test_dataloader["dataset"]["pipeline"][2:]]])]\n'
    turns = 'dict(type="Turn", element="identity"), dict(type="Turn", element="flip_horizontal")'
    test = [ROOT / 'tools/test.py', 'own.py', 'work/epoch_1.pth', '--work-dir', 'own', '--out', 'own', '--tta']
    (trained / 'own.py').write_text(text + own.format(turns))
    run(*test, cwd=trained)
    assert (trained / 'own/results.jsonl').is_file()
    (trained / 'own.py').write_text(text + own.format('dict(type="Turn", element="rot90")'))
    assert "element='identity' first" in run(*test, cwd=trained, expect=2)
