"""Words of place over a whole scene: objects found by what they are, chosen by what the words mean."""

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely

from helpers.geo_scenes import write_scene
from helpers.paths import ROOT
from rs2sam2.errors import ConfigError
from rs2sam2.geo.candidates import FIELDS
from rs2sam2.geo.meaning import ChosenObjects, find_objects
from rs2sam2.geo.questions import all_questions, ask
from rs2sam2.geo.scene import segment_scene
from rs2sam2.text.reading import read_expression

PAINTS = {'ship': (230, 230, 230), 'tank': (200, 40, 40), 'pier': (60, 90, 200)}
SIDE = 300
SHIPS = [(20, 150), (130, 150), (250, 40), (250, 250)]  # x, y of their upper left corner


class KnowsPaints:
    """Finds every thing of the kinds that a question names, by its paint; large ones look the same as small ones."""

    def __init__(self):
        self.asked = []

    def predict(self, images, expression):
        self.asked.append(expression)
        kinds = [kind for kind in PAINTS if kind in expression.lower()]
        empty = np.zeros(images[0].shape[:2], bool)
        found = [np.any([empty, *((np.abs(i - np.int16(PAINTS[k])) < 20).all(2) for k in kinds)], 0) for i in images]
        return np.where(found, np.float32(4), np.float32(-4))


@pytest.fixture
def scene(tmp_path):
    data = np.full((3, SIDE, SIDE), 90, np.uint8)
    for number, (x, y) in enumerate(SHIPS):
        data[:, y : y + 16 + 4 * number, x : x + 16] = np.array(PAINTS['ship'])[:, None, None]
    data[:, 140:180, 200:204] = np.array(PAINTS['pier'])[:, None, None]
    data[:, 280:284, 10:30] = np.array(PAINTS['tank'])[:, None, None]
    return write_scene(tmp_path / 'scene.tif', data)


def segment(scene, text, predictor=None, **kwargs):
    """The result, and the upper left corners (x, y) of what is foreground."""
    out = scene.with_name('out')
    kwargs = dict(window=64, progress=False) | kwargs
    result = segment_scene(
        scene, text, predictor or KnowsPaints(), mask=out / 'mask.tif', probability=out / 'p.tif',
        polygons=out / 'o.gpkg', **kwargs,
    )  # fmt: skip
    with rasterio.open(out / 'mask.tif') as mask:
        pixels = mask.read(1)
    bounds = pyogrio.read_bounds(out / 'o.gpkg')[1] if result.objects else np.zeros((4, 0))
    corners = [(round((x - 4e5) * 2), round((5.3e6 - y) * 2)) for x, y in zip(bounds[0], bounds[3], strict=True)]
    assert len(corners) == result.objects
    for x, y in corners:
        assert pixels[y, x] == 1
    return result, sorted(corners)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('the leftmost ship', [SHIPS[0]]),
        ('the ship in the middle', [SHIPS[1]]),
        ('all ships on the right', sorted(SHIPS[2:])),
        ('the largest ship', [SHIPS[3]]),
        ('the ship on the upper right', [SHIPS[2]]),
        ('the ship left of the pier', [SHIPS[1]]),
        ('the ship farthest from the pier', [SHIPS[0]]),
        ('the smallest ship above the tank', [SHIPS[0]]),
    ],
)
def test_what_the_words_mean_is_taken(scene, text, expected):
    result, corners = segment(scene, text)
    assert result.scope == 'meaning'
    assert corners == expected
    assert sum(one.taken for one in result.candidates) == len(expected)
    assert len(result.candidates) == 4
    assert all(one.why for one in result.candidates)
    assert result.decision.startswith('4 found for ')
    assert any(note == f'by meaning: {result.decision}' for note in result.notes)


def test_windows_are_asked_what_it_is_and_nothing_else(scene):
    predictor = KnowsPaints()
    segment(scene, 'the small ship on the lower left of the pier on the right', predictor)
    assert set(predictor.asked) == {'the ship', 'the pier'}
    predictor = KnowsPaints()
    predictor.several = True
    segment(scene, 'the small ship left of the pier', predictor)
    assert set(predictor.asked) == {'All ships', 'All piers'}


@pytest.mark.parametrize('block', [80, 4096])
def test_objects_are_the_same_whatever_the_windows_and_blocks(scene, block):
    seen = [segment(scene, 'the leftmost ship', window=window, block=block)[1] for window in (64, 100, 200)]
    assert seen == [[SHIPS[0]]] * 3


def test_on_a_grid_of_another_resolution_the_mask_stays_the_object(scene):
    result, _ = segment(scene, 'the leftmost ship', gsd=1.0)
    assert result.grid_shape == (150, 150)
    assert abs(result.foreground_pixels - 16 * 16) <= 4 * 16
    assert result.objects == 1


def test_what_cannot_be_split_is_left_to_the_reduced_scene_and_said(scene):
    predictor = KnowsPaints()
    result, _ = segment(scene, 'the ship between the pier and the tank', predictor)
    assert result.scope == 'scene'
    assert not result.candidates
    assert any("'between'" in note and 'the reduced scene said where' in note for note in result.notes)


@pytest.mark.parametrize(
    ('text', 'turned', 'said'),
    [('the northernmost ship', True, True), ('the topmost ship', True, False), ('the northernmost ship', False, False)],
)
def test_in_a_scene_that_is_not_north_up_winds_are_doubted(scene, text, turned, said):
    if turned:
        with rasterio.open(scene, 'r+') as dataset:
            dataset.transform = rasterio.Affine(0.5, 0, 4e5, 0, 0.5, 5.3e6)
    result = segment_scene(
        scene, text, KnowsPaints(), mask=scene.with_name('mask.tif'), probability=None, polygons=None, window=64,
        progress=False,
    )  # fmt: skip
    assert any('179 degrees from north' in note for note in result.notes) == said


def test_what_may_be_meant_otherwise_is_said(scene):
    result, _ = segment(scene, 'the leftmots ship', KnowsPaints())
    assert result.scope == 'window'
    assert any("'leftmost'?" in note for note in result.notes)


def test_sentences_without_place_stay_as_they_are(scene):
    predictor = KnowsPaints()
    result, corners = segment(scene, 'ships', predictor, scope='meaning')
    assert (result.scope, len(corners)) == ('window', 4)
    assert set(predictor.asked) == {'ships'}


def test_a_landmark_that_is_not_there(scene):
    result, corners = segment(scene, 'the ship above the airplane', KnowsPaints())
    assert corners == []
    assert "'the airplane' was not found" in result.decision
    assert result.score is None


def test_one_window_is_asked_as_it_is_unless_meaning_is_wanted():
    assert ask('the ship on the left', 'auto', one_image=True).scope == 'scene'
    assert ask('the ship on the left', 'meaning', one_image=True).scope == 'meaning'
    assert ask('the ship between us', 'meaning', one_image=True).scope == 'scene'
    assert ask('the ship on the left', 'window', one_image=False).scope == 'window'
    assert ask('the ship on the left', 'scene', one_image=False).question.whole


def test_questions_of_several_wishes_are_asked_once():
    wishes = [ask(text, 'auto', one_image=False) for text in ('the leftmost ship', 'the ship above the pier', 'ships')]
    assert [one.text for one in all_questions(wishes)] == ['the ship', 'the pier', 'ships']


def test_specks_are_meant_by_no_word_for_one_thing_and_by_words_for_all(tmp_path):
    data = np.full((3, SIDE, SIDE), 90, np.uint8)
    for x, y, side in ((100, 10, 20), (10, 100, 16), (4, 200, 4)):
        data[:, y : y + side, x : x + side] = np.array(PAINTS['ship'])[:, None, None]
    scene = write_scene(tmp_path / 'scene.tif', data)
    result, corners = segment(scene, 'the leftmost ship')
    assert corners == [(10, 100)]
    assert sorted(one.why for one in result.candidates)[0] == 'a speck'
    assert segment(scene, 'all ships on the left')[1] == [(4, 200), (10, 100)]
    assert segment(scene, 'the smallest ship')[1] == [(10, 100)]


def test_an_object_that_a_gap_without_data_parts_is_two(tmp_path):
    data = np.full((3, SIDE, SIDE), 90, np.uint8)
    data[:, 100:140, 40:80] = np.array(PAINTS['ship'])[:, None, None]
    data[:, 118:120] = 0
    scene = write_scene(tmp_path / 'scene.tif', data, nodata=0)
    result, corners = segment(scene, 'the largest ship')
    assert corners == [(40, 120)]
    assert [one.pixels for one in result.candidates] == [18 * 40, 20 * 40]


def test_what_is_not_chosen_is_as_unlikely_as_it_was_likely():
    log_odds = np.full((40, 40), -2, np.float32)
    log_odds[5:10, 5:10] = log_odds[20:30, 20:30] = 3
    raster = type('Raster', (), {'read': lambda self, y, x, h, w: log_odds[y : y + h, x : x + w]})()
    first, second = (one.polygon for one in find_objects(raster, (40, 40)))
    left = ChosenObjects([second], (40, 40)).gate(log_odds, 0, 0, (40, 40))
    assert np.array_equal(left > 0, np.pad(np.ones((10, 10), bool), ((20, 10), (20, 10))))
    assert left[7, 7] == -3
    assert left[0, 0] == -2
    tile = ChosenObjects([first, second], (40, 40)).gate(log_odds[8:25, 8:25], 8, 8, (40, 40))
    assert np.array_equal(tile, log_odds[8:25, 8:25])


@pytest.mark.parametrize('suffix', ['.gpkg', '.geojson', '.shp'])
def test_every_candidate_is_in_a_file_with_why(scene, tmp_path, suffix):
    path = tmp_path / f'found{suffix}'
    result, _ = segment(scene, 'the smallest ship above the tank', candidates=path, gsd=1.0, min_area=1000)
    meta, _, outlines, columns = pyogrio.raw.read(path)
    rows = [dict(zip(meta['fields'], row, strict=True)) for row in zip(*columns, strict=True)]
    assert list(meta['fields']) == FIELDS
    assert [row['part'] for row in rows] == ['target'] * 4 + ['landmark']
    assert [row['asked'] for row in rows] == ['the ship'] * 4 + ['the tank']
    known = (*result.candidates, *result.landmarks)
    assert [(bool(row['taken']), row['why']) for row in rows] == [(one.taken, one.why) for one in known]
    assert [row['taken'] for row in rows].count(1) == 2
    assert len({row['why'] for row in rows}) > 2
    polygons = shapely.from_wkb(outlines)
    # On the model's grid a pixel is two of the scene's, so that edges may move by one.
    taken = [polygon for polygon, row in zip(polygons, rows, strict=True) if row['taken']]
    for (x, y), polygon in zip([SHIPS[0], (10, 280)], taken, strict=True):
        left, _, _, top = polygon.bounds
        assert abs(left - (4e5 + x / 2)) <= 1
        assert abs(top - (5.3e6 - y / 2)) <= 1
    assert np.allclose([row['area'] for row in rows], shapely.area(polygons))
    assert [row['pixels'] for row in rows] == [4 * one.pixels for one in known]


def test_a_file_of_candidates_where_nothing_is_chosen_is_empty_and_that_is_said(scene, tmp_path):
    result, _ = segment(scene, 'ships', candidates=tmp_path / 'found.gpkg')
    assert pyogrio.read_info(tmp_path / 'found.gpkg', layer='candidates')['features'] == 0
    assert any(note.startswith("found.gpkg has no candidates of 'ships'") for note in result.notes)


def test_a_scope_that_is_none(scene):
    with pytest.raises(ConfigError, match="'auto', 'meaning', 'scene' or 'window'"):
        segment(scene, 'the ship', scope='place')


def test_the_reading_travels_with_the_wish():
    wish = ask('the ship above the pier', 'auto', one_image=False)
    assert wish.reading == read_expression('the ship above the pier')
    assert (wish.question.text, wish.landmark.text) == ('the ship', 'the pier')


@pytest.mark.slow
def test_the_benchmark_runs_the_way_a_user_goes(monkeypatch, capsys, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / 'tools/analysis_tools'))
    import benchmark_meaning

    options = ['--sizes', '320', '--sentences', '3', '--pictures', str(tmp_path)]
    monkeypatch.setattr('sys.argv', ['benchmark_meaning.py', *options])
    monkeypatch.setattr(benchmark_meaning, 'own_score', lambda *args: {'position': [0.5]})
    benchmark_meaning.main()
    assert 'by kind of sentence' in capsys.readouterr().out
    assert len(list(tmp_path.glob('320_*.jpg'))) == 3
