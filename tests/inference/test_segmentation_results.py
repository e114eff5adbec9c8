"""Results that behave: pictures, polygons, files, tables of several."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from rs2sam2.errors import ConfigError, DataError
from rs2sam2.inference import SegmentationResult, SegmentationResults
from rs2sam2.inference.prediction import Prediction, resize_logits

MASK = np.zeros((20, 30), bool)
MASK[2:12, 3:15] = True
MASK[5:8, 6:9] = False  # a hole
MASK[15:17, 20:24] = True


def make(mask=MASK, image='a.png', expression='the pond', source=None, **more) -> SegmentationResult:
    logits = np.where(mask, 2.0, -2.0).astype(np.float32)
    prediction = Prediction(image, expression, logits, mask, None, None, None, 'fp32')
    return SegmentationResult.from_prediction(prediction, source=source, **more)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / 'a.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(path)
    return path


def test_polygons_cover_the_mask():
    large, small = make().polygons()
    assert large.area == 120 - 9
    assert len(large.interiors) == 1
    assert small.bounds == (20, 15, 24, 17)
    assert make(np.zeros((4, 4), bool)).polygons() == []


def test_the_repr_is_one_short_line():
    text = repr(make(expression='the\npond ' * 100))
    assert '\n' not in text
    assert len(text) < 250
    assert repr(make()) == "<'the pond' in a.png: 119 of 600 pixels, score 0.88>"
    assert 'no pixel is foreground' in repr(make(np.zeros((4, 4), bool)))


@pytest.mark.parametrize('kind', ['path', 'array', 'pil'])
def test_pictures_come_from_what_was_given(picture, kind, monkeypatch):
    with Image.open(picture) as opened:
        pixels = np.asarray(opened)
    result = make(source={'path': str(picture), 'array': pixels, 'pil': opened}[kind])
    drawn = np.asarray(result.overlay()).astype(int)
    changed = np.abs(drawn - pixels.astype(int)).sum(-1) > 60
    assert changed[MASK].mean() > 0.8
    assert result._repr_png_().startswith(b'\x89PNG')
    shown = []
    monkeypatch.setattr(Image.Image, 'show', lambda self, title: shown.append(self.size))
    result.show()
    assert shown == [(30, 20)]


def test_a_picture_that_is_gone_or_changed_is_not_drawn(picture):
    result = make(source=str(picture))
    Image.new('RGB', (31, 20)).save(picture)
    with pytest.raises(DataError, match='another size'):
        result.overlay()
    picture.unlink()
    with pytest.raises(DataError, match='is missing'):
        result.overlay()
    assert result._repr_png_() is None
    assert make()._repr_png_() is None


def test_save_by_suffix(picture, tmp_path):
    result = make(source=str(picture))
    np.testing.assert_array_equal(np.asarray(Image.open(result.save(tmp_path / 'm.png'))), MASK * 255)
    with Image.open(result.save(tmp_path / 'o.jpg')) as overlay:
        assert overlay.size == (30, 20)
    assert json.loads(result.save(tmp_path / 'r.json').read_text())['area'] == 119
    features = json.loads(result.save(tmp_path / 'p.geojson').read_text())['features']
    assert [one['properties']['pixels'] for one in features] == [111, 8]
    with pytest.raises(ConfigError, match='choose one of these suffixes'):
        result.save(tmp_path / 'r.xyz')
    assert {path.name for path in tmp_path.iterdir()} == {'a.png', 'm.png', 'o.jpg', 'r.json', 'p.geojson'}


def test_several_as_coco(tmp_path):
    results = SegmentationResults([make(), make(expression='nothing', mask=np.zeros_like(MASK)), make(image='b.png')])
    path = tmp_path / 'coco.json'
    path.write_text(json.dumps(results.to_coco()))
    coco = COCO(path)
    assert [coco.imgs[i]['file_name'] for i in coco.getImgIds()] == ['a.png', 'b.png']
    first, second = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    np.testing.assert_array_equal(coco.annToMask(first), MASK)
    assert (second['area'], second['reason']) == (0, 'no pixel is foreground')
    with pytest.raises(DataError, match='different sizes'):
        SegmentationResults([make(), make(np.zeros((4, 4), bool))]).to_coco()
    assert SegmentationResults().to_coco()['annotations'] == []


def test_two_images_in_memory_of_one_name_are_no_data_set():
    one, other = (np.full((20, 30, 3), value, np.uint8) for value in (0, 9))
    assert len(SegmentationResults([make(source=one), make(source=one.copy())]).to_coco()['images']) == 1
    with pytest.raises(DataError, match='two images in memory'):
        SegmentationResults([make(source=one), make(source=other)]).to_coco()


def test_parts_and_sums_of_several_are_several():
    results = SegmentationResults([make(image=f'{name}.png') for name in 'abc'])
    assert len(results[1:].to_coco()['images']) == 2
    assert len((results[:1] + results[2:]).to_coco()['images']) == 2
    assert results[-1].image == 'c.png'


def test_several_as_geodataframe(picture):
    pytest.importorskip('geopandas')
    frame = SegmentationResults([make(), make(np.zeros_like(MASK))]).to_geodataframe()
    assert list(frame.pixels) == [111, 8]
    assert list(frame.geometry.area) == [111, 8]
    assert frame.crs is None
    nothing = SegmentationResults([make(np.zeros_like(MASK))]).to_geodataframe()
    assert nothing.empty
    assert all(nothing.dtypes[name] == frame.dtypes[name] for name in ('score', 'pixels'))


def test_nothing_found_is_saved_as_no_polygons(tmp_path):
    pyogrio = pytest.importorskip('pyogrio')
    for suffix in ('geojson', 'gpkg'):
        path = make(np.zeros_like(MASK)).save(tmp_path / f'none.{suffix}')
        assert pyogrio.read_info(path)['features'] == 0


def test_images_with_a_place_give_polygons_there(picture, tmp_path):
    rasterio = pytest.importorskip('rasterio')
    pytest.importorskip('geopandas')
    path = tmp_path / 'scene.tif'
    place = rasterio.Affine(0.5, 0, 500000, 0, -0.5, 4000000)
    with rasterio.open(path, 'w', 'GTiff', 30, 20, 3, 'EPSG:32633', place, 'uint8') as raster:
        raster.write(np.zeros((3, 20, 30), np.uint8))
    frame = SegmentationResults([make(image=str(path), source=str(path))]).to_geodataframe()
    assert frame.crs == 'EPSG:32633'
    assert list(frame.geometry.area) == [111 / 4, 8 / 4]
    assert frame.geometry[1].bounds == (500010, 3999991.5, 500012, 3999992.5)
    result = make(image=str(path), source=str(path))
    with pytest.raises(DataError, match='not in one CRS'):
        SegmentationResults([result, make()]).to_geodataframe()
    with rasterio.open(result.save(tmp_path / 'mask.tif')) as raster:
        assert (raster.crs, raster.transform) == ('EPSG:32633', place)
        np.testing.assert_array_equal(raster.read(1), MASK * 255)


def test_a_file_that_is_stored_turned_has_no_place(tmp_path):
    rasterio = pytest.importorskip('rasterio')
    path, place = tmp_path / 'turned.tif', rasterio.Affine(0.5, 0, 500000, 0, -0.5, 4000000)
    with rasterio.open(path, 'w', 'GTiff', 30, 20, 3, 'EPSG:32633', place, 'uint8') as raster:
        raster.write(np.zeros((3, 20, 30), np.uint8))
    content = bytearray(path.read_bytes())
    # TIFF's orientation (tag 274, a short), in the place of its planar configuration (284), which is 1 as well.
    tag = content.index((284).to_bytes(2, 'little') + (3).to_bytes(2, 'little'))
    content[tag : tag + 12] = b''.join(
        number.to_bytes(size, 'little') for number, size in ((274, 2), (3, 2), (1, 4), (3, 4))
    )
    path.write_bytes(content)
    result = make(image=str(path), source=str(path))
    assert SegmentationResults([result]).to_geodataframe().crs is None


def test_results_can_be_pickled():
    kept = pickle.loads(pickle.dumps(SegmentationResults([make()])))
    np.testing.assert_array_equal(kept[0].mask, MASK)


@pytest.mark.parametrize(
    ('shape', 'size'), [((6, 6), (20, 31)), ((24, 24), (5, 7)), ((8, 8), (8, 60)), ((1, 4), (3, 3))]
)
def test_logits_are_resized_as_torch_does(shape, size):
    import torch

    logits = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(logits)[None], size, mode='bilinear')[0]
    np.testing.assert_allclose(resize_logits(logits, size), expected, atol=1e-5)
