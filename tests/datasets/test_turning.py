"""Image, mask and sentence turn together."""

from collections import Counter

import numpy as np
import pytest

from rs2sam2.datasets.transforms import PackRefSegInputs, RandomTurn, ResizeTwoViews, Turn
from rs2sam2.engine.randomness import seeded
from rs2sam2.errors import ConfigError
from rs2sam2.symmetry import SYMMETRIES
from rs2sam2.text.directions import turn


def sample(expression='the ship on the left', height=40, width=60, mask_size=(20, 30)):
    """A white ship at the left edge; its mask has a size of its own."""
    image, mask = np.zeros((height, width, 3), np.uint8), np.zeros(mask_size, np.uint8)
    image[height // 2 - 5 : height // 2 + 5, 2:12] = 255
    mask[mask_size[0] // 2 - 2 : mask_size[0] // 2 + 2, 1:6] = 1
    return dict(sample_id='1', img=image, gt_seg_map=mask, expression=expression, ori_shape=(height, width))


@pytest.mark.parametrize('element', SYMMETRIES)
def test_everything_turns_and_nothing_is_resampled(element):
    before, after = sample(), Turn(element, 'on the top')(sample())
    symmetry = SYMMETRIES[element]
    np.testing.assert_array_equal(after['img'], symmetry.apply(before['img'], 0, 1))
    np.testing.assert_array_equal(after['gt_seg_map'], symmetry.apply(before['gt_seg_map']))
    assert after['img'].flags['C_CONTIGUOUS']
    assert after['ori_shape'] == after['img'].shape[:2]
    assert after['expression'] == turn('the ship on the left', element, 'on the top')
    assert after['turned_by'] == element
    # Where the sentence says it is.
    rows, columns = np.nonzero(after['gt_seg_map'])
    height, width = after['gt_seg_map'].shape
    place = {'left': columns.max() < width / 2, 'right': columns.min() >= width / 2}
    place |= {'top': rows.max() < height / 2, 'bottom': rows.min() >= height / 2}
    assert place[after['expression'].split()[-1]]


@pytest.mark.parametrize('element', SYMMETRIES)
def test_views_of_the_turned_image_are_the_turned_views(element):
    rng = np.random.default_rng(0)
    before = dict(sample(), img=rng.integers(0, 255, (157, 211, 3), np.uint8))
    views = ResizeTwoViews(64, 32)(dict(before))
    turned = ResizeTwoViews(64, 32)(Turn(element)(dict(before)))
    for key in ('img', 'union_img'):
        expected = SYMMETRIES[element].apply(views[key], 0, 1)
        # PIL resizes columns first, and rounds in between.
        assert np.abs(turned[key].astype(int) - expected).max() <= 1


def test_each_element_is_drawn_alike_and_refused_ones_never():
    draw = RandomTurn()
    np.random.seed(0)  # noqa: NPY002
    counts = Counter(draw(sample())['turned_by'] for _ in range(1600))
    assert set(counts) == set(SYMMETRIES)
    assert min(counts.values()) > 150
    half = Counter(draw(sample('the uppermost ship'))['turned_by'] for _ in range(200))
    assert set(half) == {'identity', 'rot180', 'flip_horizontal', 'flip_vertical'}
    for _ in range(20):
        kept = draw(sample('right next to the pier'))
        assert (kept['turned_by'], kept['expression']) == ('identity', 'right next to the pier')
    only = RandomTurn(elements=['rot90'])
    assert only(sample())['turned_by'] == 'rot90'
    assert only(sample('all right'))['turned_by'] == 'identity'


def test_a_visit_is_turned_alike_each_time():
    draw = RandomTurn()

    def visit(epoch):
        elements = []
        for index in range(30):
            with seeded(0, epoch, index):
                elements.append(draw(sample())['turned_by'])
        return elements

    assert visit(0) == visit(0)
    assert visit(0) != visit(1)


def test_a_refused_sentence_is_marked():
    kept = Turn('rot90')(sample('all right'))
    assert kept['turn_refused'] == 'a word of direction in no known phrase'
    np.testing.assert_array_equal(kept['img'], sample()['img'])
    fields = dict(img_path='a.png', union_img=np.zeros((4, 4, 3), np.uint8), token_ids=np.array([0, 2]))
    assert PackRefSegInputs()({**kept, **fields})['data_samples'].turn_refused == kept['turn_refused']
    turned = PackRefSegInputs()({**Turn('rot90')(sample()), **fields})['data_samples']
    assert (turned.turned_by, turned.ori_shape) == ('rot90', (60, 40))


@pytest.mark.parametrize('make', [lambda **bad: Turn(**{'element': 'rot90', **bad}), RandomTurn])
def test_arguments_are_checked(make):
    with pytest.raises(ConfigError, match='top='):
        make(top='top')
    with pytest.raises(ConfigError, match='no symmetry'):
        make(**({'elements': ['rot45']} if make is RandomTurn else {'element': 'rot45'}))
    if make is RandomTurn:
        with pytest.raises(ConfigError, match='elements'):
            make(elements=[])
