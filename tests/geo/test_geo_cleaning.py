"""Polygons as a GIS wants them: small ones left out, outlines simplified, four formats, inside an area of interest."""

import json

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS

from helpers.geo_scenes import UTM, BrightThings, blobs, write_scene
from rs2sam2.errors import ConfigError, DataError
from rs2sam2.geo.cleaning import Cleaner, Measure, parse_cleaning, parse_measure
from rs2sam2.geo.ground import AreaMeter
from rs2sam2.geo.polygons import PolygonTracer
from rs2sam2.geo.scene import segment_scene
from rs2sam2.geo.vectors import FIELDS


@pytest.fixture(scope='module')
def scene(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp('scene') / 'scene.tif', blobs(240, 300, seed=3))


def run(scene, out, **kwargs):
    kwargs = dict(window=128, progress=False) | kwargs
    result = segment_scene(
        scene, 'bright ground', BrightThings(threshold=140), mask=out.with_suffix('.tif'), polygons=out, **kwargs
    )
    table = None if out.suffix == '.parquet' else pyogrio.raw.read(out)
    return result, table


def columns(table):
    return dict(zip(table[0]['fields'], table[3], strict=True)), shapely.from_wkb(table[2])


@pytest.mark.parametrize(
    ('text', 'expected'),
    [('20', (20, False)), ('1.5px', (1.5, False)), (7, (7, False)), ('50m2', (50, True)), ('50 m²', (50, True))],
)
def test_measures(text, expected):
    assert parse_measure(text, 'min_area', 'm2') == Measure(*expected)


@pytest.mark.parametrize('text', ['', 'x', '-1', '3m', '1e400', '5 m2 6', 'nan'])
def test_measures_that_are_none(text):
    with pytest.raises(ConfigError, match='min_area is'):
        parse_measure(text, 'min_area', 'm2')


def objects_of(mask):
    tracer = PolygonTracer(mask.shape[1])
    tracer.add(0, 0, mask, np.ones(mask.shape))
    return [*tracer.end_row(), *tracer.end()]


@pytest.mark.parametrize('tolerance', [3, 20])
def test_simplified_objects_stay_apart_and_keep_their_holes(tolerance):
    rng = np.random.default_rng(1)
    mask = np.kron(rng.random((60, 60)) < 0.55, np.ones((3, 3), bool))  # touching at corners, with many holes
    objects = objects_of(mask)
    cleaner = Cleaner(parse_cleaning(None, tolerance), AreaMeter(None, Affine.identity()), None)
    simple, places = cleaner.clean(objects, [one.polygon for one in objects])
    assert places == list(range(len(objects)))
    polygons = np.array([one.polygon for one in simple])
    assert shapely.is_valid(polygons).all()
    assert (shapely.get_num_interior_rings(polygons) == [len(one.polygon.interiors) for one in objects]).all()
    assert shapely.area(shapely.union_all(polygons)) == pytest.approx(shapely.area(polygons).sum())
    assert shapely.get_num_coordinates(polygons).sum() < sum(shapely.get_num_coordinates(o.polygon) for o in objects)


def test_small_polygons_are_left_out_counted_and_said(scene, tmp_path):
    _, everything = run(scene, tmp_path / 'all.gpkg')
    pixels = columns(everything)[0]['pixels']
    result, table = run(scene, tmp_path / 'large.gpkg', min_area='100m2')  # half a metre a pixel
    kept = columns(table)[0]
    assert sorted(kept['pixels']) == sorted(pixels[pixels >= 400])
    assert list(kept['id']) == list(range(1, len(kept['id']) + 1))
    assert result.objects == len(kept['id']) < len(pixels)
    lost = pixels[pixels < 400]
    assert any(f'{len(lost):,} polygons below' in n and f'{lost.sum() / 4:,.6g} m2' in n for n in result.notes)
    assert result.foreground_pixels == pixels.sum()


def test_area_is_that_of_the_simplified_outline_and_the_change_is_said(scene, tmp_path):
    result, table = run(scene, tmp_path / 'simple.gpkg', simplify='1m')
    values, polygons = columns(table)
    assert np.allclose(values['area'], shapely.area(polygons))
    change = values['area'].sum() / (values['pixels'].sum() / 4) - 1
    assert change != 0
    assert any('outlines were simplified' in note and f'({change:+.3%})' in note for note in result.notes)
    assert shapely.is_valid(polygons).all()


@pytest.mark.parametrize('suffix', ['.gpkg', '.geojson', '.shp', '.parquet'])
def test_all_formats_hold_the_same(scene, tmp_path, suffix):
    if suffix == '.parquet':
        parquet = pytest.importorskip('pyarrow.parquet', reason='.parquet needs pyarrow')
    result, table = run(scene, tmp_path / f'objects{suffix}')
    _, known = run(scene, tmp_path / 'known.gpkg')
    if suffix == '.parquet':
        read = parquet.read_table(tmp_path / 'objects.parquet')
        about = json.loads(read.schema.metadata[b'geo'])
        assert about['columns']['geometry']['crs']['id'] == {'authority': 'EPSG', 'code': 32632}
        values, polygons = read.to_pydict(), shapely.from_wkb(read['geometry'].to_pylist())
    else:
        values, polygons = columns(table)
        assert CRS.from_user_input(table[0]['crs']) == CRS.from_user_input(UTM['crs'])
    expected, outlines = columns(known)
    assert shapely.equals(polygons, outlines).all()
    assert [name for name in values if name != 'geometry'] == FIELDS
    assert np.allclose(values['score'], expected['score'])
    assert list(values['expression']) == ['bright ground'] * result.objects
    assert set(values['source']) == {str(scene)}
    assert set(values['model']) == {'BrightThings'}
    assert sorted(path.suffix for path in tmp_path.glob('objects.*')) == sorted(
        {'.tif', suffix} | ({'.shx', '.dbf', '.prj', '.cpg'} if suffix == '.shp' else set())
    )


def test_a_shapefile_refuses_what_it_would_cut(scene, tmp_path):
    with pytest.raises(ConfigError, match='254 bytes'):
        segment_scene(
            scene, 'ä' * 128, BrightThings(threshold=140), polygons=tmp_path / 'o.shp', window=128, progress=False
        )  # fmt: skip
    assert not list(tmp_path.iterdir())


def write_area(path, polygons, crs):
    geometry = shapely.to_wkb(np.array(polygons, dtype=object))
    pyogrio.raw.write(str(path), geometry, [], [], geometry_type='Polygon', crs=crs, driver='GPKG')
    return path


def test_outside_of_the_area_nothing_is_run(scene, tmp_path):
    # A triangle on the left half, in longitude and latitude: it is brought to the scene.
    corners = shapely.Polygon([(4e5, 5.3e6), (4e5 + 60, 5.3e6), (4e5, 5.3e6 - 110)])
    lon, lat = rasterio.warp.transform(UTM['crs'], 'EPSG:4326', *np.array(corners.exterior.coords).T)
    area = write_area(tmp_path / 'area.gpkg', [shapely.Polygon(zip(lon, lat, strict=True))], 'EPSG:4326')
    everything, _ = run(scene, tmp_path / 'all.gpkg')
    result, table = run(scene, tmp_path / 'some.gpkg', aoi=area)
    with rasterio.open(tmp_path / 'some.tif') as some, rasterio.open(tmp_path / 'all.tif') as whole:
        inside = rasterio.features.rasterize([corners], some.shape, transform=some.transform) == 1
        differing = (some.read(1) != np.where(inside, whole.read(1), 255)).sum()
    assert differing <= 3  # reprojected corners
    assert 0 < result.windows_run < everything.windows_run
    assert abs(result.valid_pixels - inside.sum()) <= 3
    assert shapely.covered_by(columns(table)[1], corners.buffer(1)).all()
    assert any('1 polygons of interest' in note for note in result.notes)


@pytest.mark.parametrize(
    ('make', 'share'),
    [
        (lambda *box: shapely.box(-1e30, -1e30, 1e30, 1e30), 1),
        (lambda w, s, e, n: shapely.Polygon([(w, s), (e, n), (e, s), (w, n)]), 1 / 2),  # it crosses itself: area 0
        (lambda *box: shapely.GeometryCollection([shapely.Point(0, 0), shapely.box(*box)]), 1),
    ],
    ids=['huge', 'crossing itself', 'collection'],
)
def test_polygons_of_any_shape_and_size(scene, tmp_path, make, share):
    path = tmp_path / 'area.geojson'
    with rasterio.open(scene) as file:
        area, whole = make(*file.bounds), file.width * file.height
    feature = dict(type='Feature', properties={}, geometry=json.loads(shapely.to_geojson(area)))
    crs = dict(type='name', properties=dict(name='urn:ogc:def:crs:EPSG::32632'))
    path.write_text(json.dumps(dict(type='FeatureCollection', crs=crs, features=[feature])))
    assert run(scene, tmp_path / 'o.gpkg', aoi=path)[0].valid_pixels == pytest.approx(whole * share, rel=0.01)


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize(
    ('make', 'kind', 'words'),
    [
        (lambda p: write_area(p, [shapely.box(0, 0, 9, 9)], 'EPSG:32632'), ConfigError, 'does not lie on the scene'),
        (lambda p: write_area(p, [shapely.box(4e5, 5.2e6, 5e5, 5.4e6)], None), ConfigError, 'names no CRS'),
        (lambda p: write_area(p, [shapely.box(0, 0, np.inf, 9)], 'EPSG:32632'), DataError, 'holds no polygons'),
        (
            lambda p: write_area(p, [shapely.box(4e5, 5.2e6, 5e5, 5.4e6)], 'EPSG:4326'),
            ConfigError,
            'taken as EPSG:4326',
        ),
        (lambda p: p.mkdir(), DataError, 'is a folder'),
        (lambda p: p.write_text('no vectors'), DataError, 'cannot be read as a vector file'),
        (lambda p: None, DataError, 'is missing'),
    ],
)
def test_areas_that_cannot_be_used(scene, tmp_path, make, kind, words):
    make(tmp_path / 'area.gpkg')
    with pytest.raises(kind, match=words):
        run(scene, tmp_path / 'out/o.gpkg', aoi=tmp_path / 'area.gpkg')


def test_metres_without_a_place_are_refused(tmp_path):
    data = blobs(64, 64)
    bare = tmp_path / 'bare.tif'
    with rasterio.open(bare, 'w', driver='GTiff', count=3, height=64, width=64, dtype=data.dtype) as file:
        file.write(data)
    for kwargs in (dict(min_area='5m2'), dict(simplify='2m')):
        with pytest.raises(ConfigError, match='no known ground resolution'):
            run(bare, tmp_path / 'o.gpkg', **kwargs)
    assert run(bare, tmp_path / 'o.gpkg', min_area=5, simplify=1)[0].objects is not None
