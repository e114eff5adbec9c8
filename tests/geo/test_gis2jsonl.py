"""Rasters and described polygons to tiles and JSON lines, and back on the ground."""

import json
import re
import runpy
import sys

import numpy as np
import pytest

from helpers.paths import ROOT

rasterio = pytest.importorskip('rasterio')
pyogrio = pytest.importorskip('pyogrio')
shapely = pytest.importorskip('shapely')

from affine import Affine  # noqa: E402
from pyproj import Transformer  # noqa: E402

from rs2sam2.datasets.jsonl import JSONLRefSegDataset  # noqa: E402
from rs2sam2.datasets.transforms import LoadReferringMask, LoadRGBImage  # noqa: E402
from rs2sam2.errors import ConfigError, DataError  # noqa: E402
from rs2sam2.geo.training_tiles import CUT, IN_TILE, NO_DATA, NO_TEXT, OUTSIDE, make_tiles  # noqa: E402

TRANSFORM = Affine(0.5, 0, 500000, 0, -0.5, 4100000)
ALL_TRAIN = dict(train=1.0)


def raster(path, size=(200, 300), crs='EPSG:32617', nodata=None, transform=TRANSFORM):
    """A picture whose red is its column and whose green is its row (both halved); one corner black."""
    rows, columns = np.indices(size)
    pixels = np.stack([columns // 2, rows // 2, np.full(size, 90)]).astype(np.uint8)
    if nodata is not None:
        pixels[:, :50, :50] = nodata
    profile = dict(driver='GTiff', height=size[0], width=size[1], count=3, dtype='uint8', nodata=nodata)
    with rasterio.open(path, 'w', crs=crs, transform=transform, **profile) as file:
        file.write(pixels)
    return path


def ground(*corners):
    """Pixels (x, y) to a polygon on the ground."""
    return shapely.Polygon([TRANSFORM @ corner for corner in corners])


def box(x1, y1, x2, y2):
    return ground((x1, y1), (x2, y1), (x2, y2), (x1, y2))


def vector(path, shapes, texts, crs='EPSG:32617', column='text', **more):
    fields = {column: np.array(texts, object)} | {key: np.array(value, object) for key, value in more.items()}
    pyogrio.raw.write(
        str(path), shapely.to_wkb(np.array(shapes, object)), list(fields.values()), list(fields), crs=crs,
        geometry_type='Unknown', layer='layer' if path.suffix == '.gpkg' else None,
    )  # fmt: skip
    return path


def make(root, shapes, texts, splits=ALL_TRAIN, **kwargs):
    source = raster(root / 'scene.tif')
    file = vector(root / 'features.gpkg', shapes, texts)
    return make_tiles([source], file, 'text', root / 'out', shares=splits, **kwargs)


def samples(root, split='train'):
    return JSONLRefSegDataset(
        data_root=str(root / 'out'), split=split, pipeline=[LoadRGBImage(), LoadReferringMask()], test_mode=True
    )


def test_masks_lie_where_the_polygons_are(tmp_path):
    holed = shapely.Polygon(box(10, 10, 60, 50).exterior, [box(20, 20, 40, 40).exterior])
    report = make(tmp_path, [holed, box(200, 120, 260, 150)], ['the courtyard', 'the roof'], tile=400)
    assert report.features == {IN_TILE: 2}
    dataset = samples(tmp_path)
    expected = np.zeros((200, 300), np.uint8)
    expected[10:50, 10:60] = 1
    expected[20:40, 20:40] = 0
    np.testing.assert_array_equal(dataset[0]['gt_seg_map'], expected)
    assert dataset[0]['img'].shape == (200, 300, 3)
    rows, columns = np.indices((200, 300))
    np.testing.assert_array_equal(dataset[0]['img'][..., 0], columns // 2)
    np.testing.assert_array_equal(dataset[0]['img'][..., 1], rows // 2)
    assert dataset.get_data_info(1)['expression'] == 'the roof'


def test_tiles_lie_where_they_were_cut(tmp_path):
    shapes = [box(x, y, x + 20, y + 20) for x in (10, 130, 250) for y in (10, 130)]
    report = make(tmp_path, shapes, [f'roof {n}' for n in range(6)], tile=128)
    assert report.tiles['train'] == 6
    lines = [json.loads(line) for line in (tmp_path / 'out/train.jsonl').read_text().splitlines()]
    dataset = samples(tmp_path)
    for index, line in enumerate(lines):
        sample = dataset[index]
        assert sample['img'].shape[:2] == (100, 100)
        rows, columns = np.nonzero(sample['gt_seg_map'])
        feature = shapes[line['geo']['features'][0] - 1]
        corners = [
            Affine(*line['geo']['transform']) @ one
            for one in ((columns.min(), rows.min()), (columns.max() + 1, rows.max() + 1))
        ]
        np.testing.assert_allclose(np.sort(np.array(corners), 0).ravel(), feature.bounds, atol=1e-6)
        with rasterio.open(tmp_path / 'out' / line['image']) as tile:
            assert tile.crs.to_epsg() == 32617
            assert tile.transform.almost_equals(Affine(*line['geo']['transform']))
            column, row = ~TRANSFORM @ (tile.transform.c, tile.transform.f)
            assert tile.read(1)[0, 0] == int(column) // 2
            assert tile.read(2)[0, 0] == int(row) // 2


def test_one_text_in_one_tile_is_one_sentence(tmp_path):
    shapes = [box(10, 10, 30, 30), box(60, 60, 80, 80), box(200, 10, 220, 30)]
    report = make(tmp_path, shapes, ['a green roof', ' a green roof ', 'a green roof'], tile=160)
    assert report.sentences['train'] == 2
    areas = sorted(samples(tmp_path)[index]['gt_seg_map'].sum() for index in range(2))
    assert areas == [400, 800]


def test_what_becomes_of_every_feature(tmp_path):
    raster(tmp_path / 'scene.tif', nodata=0)
    shapes = [
        box(60, 60, 80, 80), box(900, 10, 920, 30), box(100, 60, 220, 90), box(5, 5, 40, 40), box(60, 100, 80, 120),
        box(90.1, 90.1, 90.2, 90.2),
    ]  # fmt: skip
    file = vector(tmp_path / 'features.gpkg', shapes, ['roof', 'far', 'wide', 'dark', None, 'speck'])
    report = make_tiles(
        [tmp_path / 'scene.tif'], file, 'text', tmp_path / 'out', tile=150, min_share=0.7, shares=ALL_TRAIN
    )
    assert report.features == {IN_TILE: 1, OUTSIDE: 1, CUT: 1, NO_DATA: 2, NO_TEXT: 1}
    assert len(samples(tmp_path)) == 1


def test_another_crs_and_geojson(tmp_path):
    shape = box(100, 50, 160, 120)
    to_degrees = Transformer.from_crs('EPSG:32617', 'EPSG:4326', always_xy=True)
    moved = shapely.transform(shape, lambda xy: np.column_stack(to_degrees.transform(xy[:, 0], xy[:, 1])))
    file = vector(tmp_path / 'f.geojson', [moved], ['the roof'], 'EPSG:4326')
    source = raster(tmp_path / 'scene.tif')
    with pytest.raises(
        DataError, match=r'f\.geojson is in WGS 84, .*scene\.tif in WGS 84 / UTM zone 17N; .*--reproject'
    ):
        make_tiles([source], file, 'text', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
    make_tiles([source], file, 'text', tmp_path / 'out', reproject=True, shares=ALL_TRAIN)
    mask = samples(tmp_path)[0]['gt_seg_map']
    assert (mask[50:120, 100:160] == 1).mean() > 0.97
    assert mask.sum() == pytest.approx(60 * 70, rel=0.03)


def test_outlines_that_cross_themselves_are_mended_and_counted(tmp_path):
    bow = ground((10, 10), (50, 50), (50, 10), (10, 50))
    report = make(tmp_path, [bow, box(100, 100, 120, 120)], ['the bow', 'the roof'])
    assert report.mended == 1
    assert samples(tmp_path)[0]['gt_seg_map'].sum() == pytest.approx(800, rel=0.06)


def test_splits_and_category(tmp_path):
    shapes = [box(x, y, x + 10, y + 10) for x in range(5, 300, 50) for y in range(5, 200, 50)]
    source = raster(tmp_path / 'scene.tif')
    file = vector(tmp_path / 'f.gpkg', shapes, [f'roof {n}' for n in range(24)], kind=['roof'] * 23 + [None])
    report = make_tiles(
        [source], file, 'text', tmp_path / 'out', tile=64, category_column='kind', shares=dict(train=2, val=1, test=1)
    )
    tiles = []
    for split in ('train', 'val', 'test'):
        dataset = samples(tmp_path, split)
        tiles.append({dataset.get_data_info(index)['img_path'] for index in range(len(dataset))})
    assert sum(map(len, tiles)) == len(set.union(*tiles)) == report.tiles.total() == 20
    assert len(tiles[0]) == 10
    categories = [json.loads(line).get('category') for line in (tmp_path / 'out/train.jsonl').read_text().splitlines()]
    assert 'roof' in categories


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path):
    source = raster(tmp_path / 'scene.tif')
    good = vector(tmp_path / 'good.gpkg', [box(1, 1, 9, 9)], ['a'])
    (tmp_path / 'garbage.gpkg').write_bytes(b'SQLite format 3\0garbage')
    (tmp_path / 'garbage.tif').write_bytes(b'II*\0')
    points = vector(tmp_path / 'points.gpkg', [shapely.Point(500010, 4099990)], ['a'])
    empty = vector(tmp_path / 'empty.gpkg', [], [])
    far = vector(tmp_path / 'far.gpkg', [box(5000, 1, 5009, 9)], ['a'])
    nowhere = vector(tmp_path / 'nowhere.gpkg', [box(1, 1, 9, 9)], ['a'], crs=None)
    plain = raster(tmp_path / 'plain.tif', crs=None)
    (tmp_path / 'sub').mkdir()
    twin = raster(tmp_path / 'sub/scene.tif')
    for rasters, file, kwargs, message in (
        ([source], good, dict(text_column='caption'), r"good\.gpkg has no column 'caption'; there are text"),
        ([source], good, dict(category_column='kind'), "has no column 'kind'"),
        ([source], good, dict(layer='other'), "has no layer 'other'; there are layer"),
        ([source], tmp_path / 'gone.gpkg', {}, r'gone\.gpkg is missing'),
        ([source], tmp_path / 'garbage.gpkg', {}, 'cannot be read as a vector file'),
        ([source], points, {}, r'1 of 1 features are no polygons \(feature 1 is Point\)'),
        ([source], empty, {}, 'has no features'),
        ([source], far, {}, r"no tile shows a described feature .*'outside all rasters': 1"),
        ([source], nowhere, {}, r'nowhere\.gpkg has no CRS'),
        ([plain], good, {}, r'plain\.tif has no CRS'),
        ([tmp_path / 'gone.tif'], good, {}, r'gone\.tif is missing'),
        ([tmp_path / 'garbage.tif'], good, {}, 'cannot be read as a raster'),
        ([source, twin], good, {}, 'two rasters are called scene'),
        ([source], good, dict(tile=8), 'use at least 64'),
        ([source], good, dict(bands=[9]), 'do not fit'),
    ):
        arguments = dict(text_column='text') | kwargs
        with pytest.raises((DataError, ConfigError), match=message) as caught:
            make_tiles(rasters, file, out=tmp_path / 'out', **arguments)
        assert '\n' not in str(caught.value)
        assert not (tmp_path / 'out').exists()
        assert not list(tmp_path.glob('.out*'))


def test_tool(tmp_path, monkeypatch, capsys):
    source = raster(tmp_path / 'scene.tif')
    file = vector(tmp_path / 'f.gpkg', [box(10, 10, 60, 60), box(900, 1, 910, 9)], ['the roof', 'x'])
    args = ['gis2jsonl.py', source, '--vector', file, '--text', 'text', '--out', tmp_path / 'out']
    monkeypatch.setattr(sys, 'argv', [str(arg) for arg in args])
    tool = str(ROOT / 'tools/dataset_converters/gis2jsonl.py')
    runpy.run_path(tool, run_name='__main__')
    printed = capsys.readouterr().out
    assert '1 features in a tile' in printed
    assert 'left out: 1 features outside all rasters' in printed
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(tool, run_name='__main__')
    assert stopped.value.code == 2
    assert re.fullmatch(r'error: .*/out exists and is not an empty folder.*\n', capsys.readouterr().err)


@pytest.mark.shared
def test_a_real_raster_with_no_data(shared, tmp_path):
    source = shared / 'data/rasters/OSBS_029.tif'
    with rasterio.open(source) as file:
        transform, crs, size = file.transform, file.crs.to_string(), file.shape
    corners = [transform @ corner for corner in ((100, 100), (180, 100), (180, 150), (100, 150))]
    crown = vector(tmp_path / 'crowns.gpkg', [shapely.Polygon(corners)], ['the tree crown'], crs)
    make_tiles([source], crown, 'text', tmp_path / 'out', tile=256, shares=ALL_TRAIN)
    sample = samples(tmp_path)[0]
    assert sample['img'].shape[0] == size[0] // 2
    top, left = (int(part) for part in sample['img_path'].split('/')[-1][:-4].split('_')[-2:])
    rows, columns = np.nonzero(sample['gt_seg_map'])
    assert (rows.min() + top, columns.min() + left) == (100, 100)


def ground_of(root, split):
    """Footprints of a split's tiles, less a pixel."""
    path = root / 'out' / f'{split}.jsonl'
    found = {}
    for line in map(json.loads, path.read_text().splitlines()) if path.is_file() else ():
        with rasterio.open(root / 'out' / line['image']) as tile:
            found[line['image']] = shapely.box(*tile.bounds).buffer(-abs(tile.transform.a))
    return list(found.values())


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize(('shift', 'pixel'), [((0, 0), 0.5), ((25, 0), 0.5), ((33, 17), 0.4)])
def test_ground_of_two_rasters_is_in_one_split(tmp_path, seed, shift, pixel):
    """Two dates, one of them moved or of another resolution: the same ground never trains and tests."""
    first = raster(tmp_path / 'first.tif', (200, 300))
    x, y = TRANSFORM @ shift
    second = raster(tmp_path / 'second.tif', (260, 390), transform=Affine(pixel, 0, x, 0, -pixel, y))
    shapes = [box(x, y, x + 8, y + 8) for x in range(5, 300, 20) for y in range(5, 200, 20)]
    file = vector(tmp_path / 'f.gpkg', shapes, [f'roof {n}' for n in range(len(shapes))])
    report = make_tiles([first, second], file, 'text', tmp_path / 'out', tile=64, seed=seed)
    grounds = {split: ground_of(tmp_path, split) for split in ('train', 'val', 'test')}
    assert all(grounds.values())
    for one, other in (('train', 'val'), ('train', 'test'), ('val', 'test')):
        assert not any(a.intersects(b) for a in grounds[one] for b in grounds[other])
    images = {path.name for path in (tmp_path / 'out/images').iterdir()}
    assert len(images) == report.tiles.total() == sum(map(len, grounds.values()))
    assert report.left_out
    assert report.features.total() == len(shapes)
    assert {name[:5] for name in images} == {'first', 'secon'}


def test_two_dates_on_one_grid_are_split_alike(tmp_path):
    dates = [raster(tmp_path / f'{year}.tif') for year in (2019, 2024)]
    shapes = [box(x, y, x + 10, y + 10) for x in range(5, 300, 50) for y in range(5, 200, 50)]
    file = vector(tmp_path / 'f.gpkg', shapes, [f'roof {n}' for n in range(24)])
    report = make_tiles(dates, file, 'text', tmp_path / 'out', tile=64)
    assert report.left_out == 0
    assert report.tiles == dict(train=28, val=4, test=8)
    for split in ('train', 'val', 'test'):
        lines = [json.loads(line) for line in (tmp_path / f'out/{split}.jsonl').read_text().splitlines()]
        tiles = [{one['image'].split('_', 1)[1] for one in lines if year in one['image']} for year in ('2019', '2024')]
        assert tiles[0] == tiles[1]


def test_few_tiles_fill_all_splits_or_say_so(tmp_path):
    for count, expected in ((1, dict(train=1)), (2, dict(train=1, val=1)), (3, dict(train=1, val=1, test=1))):
        folder = tmp_path / str(count)
        folder.mkdir()
        shapes = [box(100 * n + 5, 5, 100 * n + 20, 20) for n in range(count)]
        report = make(folder, shapes, [f'roof {n}' for n in range(count)], splits=None, tile=100)
        assert {split: number for split, number in report.tiles.items() if number} == expected
        empty = [split for split in ('train', 'val', 'test') if split not in expected]
        assert [note.split()[0] for note in report.notes if 'too few' in note] == empty
        assert all((folder / f'out/{split}.jsonl').is_file() == (split in expected) for split in ('train', 'val'))


def test_missing_values_and_whole_numbers_of_a_column(tmp_path):
    source = raster(tmp_path / 'scene.tif')
    shapes = [box(20 * n, 5, 20 * n + 10, 15) for n in range(5)]
    geometry = shapely.to_wkb(np.array(shapes, object))
    columns = {
        'number': (np.array([3, 0, 12, 7, 2**40]), [3, None, 12, 7, 2**40]),
        'share': (np.array([2.5, np.nan, 3.0, 1e-3, 4.0]), [2.5, None, 3, 0.001, 4]),
        'text': (np.array(['a roof', None, ' ', 'a\n two-line\troof', 'nan'], object), None),
    }
    fields = [values for values, _ in columns.values()]
    mask = [np.array([False, True, False, False, False]), None, None]
    pyogrio.raw.write(
        str(tmp_path / 'f.gpkg'), geometry, fields, list(columns), field_mask=mask, crs='EPSG:32617', layer='layer',
        geometry_type='Polygon',
    )  # fmt: skip
    said = {}
    for column in columns:
        report = make_tiles(
            [source], tmp_path / 'f.gpkg', column, tmp_path / column, shares=ALL_TRAIN, category_column='number'
        )
        lines = [json.loads(line) for line in (tmp_path / column / 'train.jsonl').read_text().splitlines()]
        said[column] = [(line['expression'], line.get('category')) for line in lines]
        assert report.features[NO_TEXT] == (2 if column == 'text' else 1)
    assert said['number'] == [('3', '3'), ('12', '12'), ('7', '7'), ('1099511627776', '1099511627776')]
    assert said['share'] == [('2.5', '3'), ('3', '12'), ('0.001', '7'), ('4', '1099511627776')]
    assert said['text'] == [('a roof', '3'), ('a two-line roof', '7'), ('nan', '1099511627776')]


@pytest.mark.filterwarnings('ignore:invalid value encountered')  # shapely's, of what the test writes
def test_a_corner_that_is_no_number_and_a_negative_seed(tmp_path):
    source = raster(tmp_path / 'scene.tif')
    file = vector(tmp_path / 'endless.gpkg', [box(10, 10, 60, 60), box(10, 10, np.inf, 60)], ['a', 'b'])
    with pytest.raises(DataError, match='feature 2 has a corner that is no finite number'):
        make_tiles([source], file, 'text', tmp_path / 'out')
    with pytest.raises(DataError, match='seed -1: give a whole number from 0 on'):
        make_tiles([source], file, 'text', tmp_path / 'out', seed=-1)


@pytest.mark.parametrize('shares', [('nan', '1', '1'), ('-1', '1', '1'), ('0', '0', '0'), ('inf', '1', '1')])
def test_shares_that_are_no_shares(tmp_path, monkeypatch, capsys, shares):
    source = raster(tmp_path / 'scene.tif')
    file = vector(tmp_path / 'f.gpkg', [box(10, 10, 60, 60)], ['the roof'])
    args = ['gis2jsonl.py', source, '--vector', file, '--text', 'text', '--out', tmp_path / 'out', '--splits', *shares]
    monkeypatch.setattr(sys, 'argv', [str(arg) for arg in args])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / 'tools/dataset_converters/gis2jsonl.py'), run_name='__main__')
    assert stopped.value.code == 2
    assert 'give finite numbers, not below 0' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, small_disk):
    source = tmp_path / 'source.tif'
    pixels = np.random.default_rng(0).integers(0, 255, (3, 400, 600), dtype=np.uint8)
    with rasterio.open(
        source,
        'w',
        driver='GTiff',
        count=3,
        height=400,
        width=600,
        dtype='uint8',
        crs='EPSG:32617',
        transform=TRANSFORM,
    ) as file:
        file.write(pixels)
    drawn = vector(tmp_path / 'v.gpkg', [box(50, 50, 550, 350)], ['a field'])
    outcomes = []
    for kilobytes in range(60, 1_300, 90):
        out = small_disk(kilobytes) / 'out'
        message = ''
        try:
            make_tiles([source], drawn, 'text', out, tile=200, shares=ALL_TRAIN, min_share=0.01)
        except DataError as error:
            message = str(error)
        outcomes.append(not message)
        if message:
            assert 'is the disk full?' in message or 'is full' in message
            assert '\n' not in message
            assert not list(out.parent.iterdir())
            continue
        for picture in (out / 'images').iterdir():
            with rasterio.open(picture) as written:
                _, top, left = picture.stem.rsplit('_', 2)
                top, left = int(top), int(left)
                np.testing.assert_array_equal(written.read(), pixels[:, top : top + 200, left : left + 200])
    assert sorted(outcomes) == outcomes
    assert set(outcomes) == {True, False}


def _shapefile(path, text, encoding, cpg=False):
    pyogrio.raw.write(
        str(path), shapely.to_wkb(np.array([box(50, 50, 150, 150)], object)), [np.array([text], object)], ['text'],
        crs='EPSG:32617', geometry_type='Polygon', encoding=encoding,
    )  # fmt: skip
    if not cpg:
        path.with_suffix('.cpg').unlink()
    return path


@pytest.mark.parametrize(('text', 'encoding'), [('白色屋顶', 'GBK'), ('白い屋根', 'Shift_JIS'), ('крыша', 'UTF-8')])
def test_words_of_a_shapefile_in_other_encodings(tmp_path, text, encoding):
    source = raster(tmp_path / 'a.tif')
    drawn = _shapefile(tmp_path / 'v.shp', text, encoding)
    report = make_tiles([source], drawn, 'text', tmp_path / 'out', shares=ALL_TRAIN, encoding=encoding)
    assert json.loads((tmp_path / 'out/train.jsonl').read_text())['expression'] == text
    assert not any('encoded' in note for note in report.notes)
    report = make_tiles([source], drawn, 'text', tmp_path / 'unsaid', shares=ALL_TRAIN)
    (note,) = [note for note in report.notes if 'does not say how its words are encoded (no .cpg file)' in note]
    assert '--encoding' in note
    assert (text in note) == (encoding == 'UTF-8')
    with pytest.raises(ConfigError, match="'klingon' is no encoding"):
        make_tiles([source], drawn, 'text', tmp_path / 'x', shares=ALL_TRAIN, encoding='klingon')


def test_a_file_that_says_its_encoding_needs_none(tmp_path):
    source = raster(tmp_path / 'a.tif')
    said = _shapefile(tmp_path / 'v.shp', '白色屋顶', 'GBK', cpg=True)
    report = make_tiles([source], said, 'text', tmp_path / 'out', shares=ALL_TRAIN)
    assert json.loads((tmp_path / 'out/train.jsonl').read_text())['expression'] == '白色屋顶'
    assert not any('encoded' in note for note in report.notes)
    plain = _shapefile(tmp_path / 'w.shp', 'white roof', 'ISO-8859-1')
    assert not any(
        'encoded' in note for note in make_tiles([source], plain, 'text', tmp_path / 'b', shares=ALL_TRAIN).notes
    )
    wrong = _shapefile(tmp_path / 'x.shp', '白色屋顶', 'GBK')
    with pytest.raises(DataError, match='its words are not utf-8'):
        make_tiles([source], wrong, 'text', tmp_path / 'c', shares=ALL_TRAIN, encoding='UTF-8')
    drawn = vector(tmp_path / 'v.gpkg', [box(50, 50, 150, 150)], ['roof'])
    with pytest.raises(ConfigError, match='says itself how its words are encoded'):
        make_tiles([source], drawn, 'text', tmp_path / 'd', shares=ALL_TRAIN, encoding='GBK')


@pytest.mark.parametrize('suffix', ['.gpkg', '.geojson', '.shp', '.fgb', '.gml', '.kml', ''])
def test_vectors_that_refer_elsewhere_are_opened_under_no_other_name(tmp_path, suffix):
    source = raster(tmp_path / 'a.tif')
    drawn = vector(tmp_path / 'v.gpkg', [box(50, 50, 150, 150)], ['a roof'])
    layer = f'<OGRVRTLayer name="layer"><SrcDataSource>{drawn}</SrcDataSource></OGRVRTLayer>'
    text = f'<OGRVRTDataSource>{layer}</OGRVRTDataSource>'
    (tmp_path / f'trap{suffix}').write_text(text)
    with pytest.raises(DataError, match='its content is not what its name says'):
        make_tiles([source], tmp_path / f'trap{suffix}', 'text', tmp_path / 'out', shares=ALL_TRAIN)
    (tmp_path / 'v.vrt').write_text(text)
    report = make_tiles([source], tmp_path / 'v.vrt', 'text', tmp_path / 'out', shares=ALL_TRAIN)
    assert any('is a virtual file' in note for note in report.notes)
