"""Many scenes in one folder: what is named, what is written, what is done again."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip('rasterio')

import pyogrio
import rasterio
import rasterio.shutil
from rasterio.transform import from_origin

from helpers.geo_scenes import BrightThings, blobs, write_scene
from rs2sam2.errors import ConfigError, DataError, OutputError
from rs2sam2.files import append_durably
from rs2sam2.geo.many import segment_scenes
from rs2sam2.geo.options import SceneOptions
from rs2sam2.geo.scene_list import list_scenes
from rs2sam2.workers.local import LocalWorker
from rs2sam2.workers.shared import token_in

OPTIONS = SceneOptions(window=64, block=100)


@dataclass
class Maker:
    """Makes a predictor that says what it is, and counts its windows."""

    threshold: float = 120
    windows: int = 0

    def __call__(self):
        maker = self

        class Counting(BrightThings):
            @property
            def identity(self):
                return {'threshold': maker.threshold}

            def predict(self, images, expression):
                maker.windows += len(images)
                return super().predict(images, expression)

        return Counting(self.threshold)


def _run(scenes, out, maker=None, expressions=('x',), **options):
    return segment_scenes(scenes, expressions, maker or Maker(), out, options=OPTIONS, progress=False, **options)


def _files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def _scenes(folder, count, **profile):
    folder.mkdir(exist_ok=True)
    return [write_scene(folder / f's{i}.tif', blobs(90 + i, 120, seed=i), **profile) for i in range(count)]


def test_a_folder_of_scenes_with_broken_ones(tmp_path):
    _scenes(tmp_path / 'in', 4)
    (tmp_path / 'in/bad.tif').write_bytes(b'II*\0nothing')
    out = tmp_path / 'out'
    maker = Maker()
    found = _run([str(tmp_path / 'in')], out, maker)
    assert found.done == ['s0', 's1', 's2', 's3']
    ((scene, why),) = found.failed
    assert scene.endswith('bad.tif')
    assert 'bad.tif cannot be read' in why
    rows = [json.loads(line) for line in (out / 'index.jsonl').read_text().splitlines()]
    assert [row['name'] for row in rows] == found.done
    assert all((out / row[key]).is_file() for row in rows for key in ('mask', 'probability', 'polygons'))
    meta, _, _, columns = pyogrio.raw.read(out / 'objects.gpkg', layer='objects')
    columns = dict(zip(meta['fields'], columns, strict=True))
    assert len(columns['id']) == sum(row['objects'] for row in rows) == found.layers[0].polygons > 4
    assert set(columns['source']) == {row['scene'] for row in rows}
    assert {'expression', 'score', 'area'} <= set(columns)
    # Once more: nothing is done twice, and what was broken is mended.
    before, windows = _files(out), maker.windows
    again = _run([str(tmp_path / 'in')], out, maker)
    assert (again.done, again.before, len(again.failed), maker.windows) == ([], 4, 1, windows)
    assert _files(out) == before
    (tmp_path / 'in/bad.tif').unlink()
    write_scene(tmp_path / 'in/bad.tif', blobs(90, 100, seed=9))
    os.utime(tmp_path / 'in/s1.tif', (1, 1))
    third = _run([str(tmp_path / 'in')], out, maker)
    assert sorted(third.done) == ['bad', 's1']
    assert (third.replaced, third.failed, third.before) == (['s1'], [], 3)


def test_another_run_is_not_mixed_in(tmp_path):
    scenes = _scenes(tmp_path / 'in', 1)
    _run(scenes, tmp_path / 'out')
    with pytest.raises(OutputError, match='results of another run \\(threshold differ'):
        _run(scenes, tmp_path / 'out', Maker(130))
    with pytest.raises(OutputError, match='expressions differ'):
        _run(scenes, tmp_path / 'out', expressions=['x', 'y'])


def test_a_torn_index_and_a_lost_file_cost_only_that_scene(tmp_path):
    scenes = _scenes(tmp_path / 'in', 3)
    out = tmp_path / 'out'
    _run(scenes, out)
    before = _files(out)
    index = out / 'index.jsonl'
    index.write_bytes(index.read_bytes()[:-20])
    (out / 'scenes/s0.x.mask.tif').unlink()
    (out / '.rs2sam2-run.token').touch()  # of a killed run on several machines
    found = _run(scenes, out)
    assert sorted(found.done) == ['s0', 's2']
    assert _files(out) == before


def test_scenes_of_several_crs_are_layers(tmp_path):
    (tmp_path / 'in').mkdir()
    places = [
        dict(crs='EPSG:32632'),
        dict(crs='EPSG:4326', transform=from_origin(11, 48, 1e-5, 1e-5)),
        dict(crs=None),
        dict(crs='EPSG:32632'),
    ]
    scenes = [write_scene(tmp_path / f'in/{i}.tif', blobs(90, 120, seed=i), **one) for i, one in enumerate(places)]
    found = _run(scenes, tmp_path / 'out')
    assert {(layer.name, layer.crs) for layer in found.layers} == {
        ('objects_epsg_32632', 'EPSG:32632'),
        ('objects_epsg_4326', 'EPSG:4326'),
        ('objects_no_crs', None),
    }
    counts = [row['objects'] for row in found.rows]
    assert {layer.crs: layer.polygons for layer in found.layers}['EPSG:32632'] == counts[0] + counts[3]
    # A format without layers: a file each.
    other = _run(scenes, tmp_path / 'other', polygons=tmp_path / 'all.geojson')
    assert {layer.path.name for layer in other.layers} == {
        'all_epsg_32632.geojson',
        'all_epsg_4326.geojson',
        'all_no_crs.geojson',
    }
    assert all(layer.path.is_file() for layer in other.layers)


def _polygons(path):
    return pyogrio.read_info(path, layer='objects')['features']


def test_polygons_of_all_are_those_of_the_index_whatever_happened(tmp_path, monkeypatch):
    """A run that was stopped just before it merged, another file in between, a file that was lost."""
    scenes = _scenes(tmp_path / 'in', 3)
    out, other = tmp_path / 'out', tmp_path / 'other.gpkg'
    _run(scenes[:1], out)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr('rs2sam2.geo.many.merge_polygons', stop)
        with pytest.raises(KeyboardInterrupt):
            _run(scenes[:2], out)
    found = _run(scenes[:2], out)
    assert (found.done, found.before) == ([], 2)
    assert _polygons(out / 'objects.gpkg') == sum(row['objects'] for row in found.rows)
    third = _run(scenes, out, polygons=other)
    count = sum(row['objects'] for row in third.rows)
    assert _polygons(other) == count > _polygons(out / 'objects.gpkg')
    assert _run(scenes, out).layers[0].polygons == count
    assert _run(scenes, out).layers == []
    other.write_bytes(b'')
    _run(scenes, out, polygons=other)
    assert _polygons(other) == count


def test_polygons_of_an_earlier_crs_do_not_stay_beside_the_new_ones(tmp_path):
    (tmp_path / 'in').mkdir()
    scenes = [write_scene(tmp_path / f'in/{code}.tif', blobs(90, 120), crs=f'EPSG:{code}') for code in (32632, 32633)]
    for given, names in [(scenes[:1], ['all']), (scenes, ['all_epsg_32632', 'all_epsg_32633'])]:
        _run(given, tmp_path / 'out', polygons=tmp_path / 'all.geojson')
        assert sorted(path.stem for path in tmp_path.glob('*.geojson')) == names


def test_results_are_no_scenes(tmp_path):
    _scenes(tmp_path / 'in', 2)
    pattern, out = str(tmp_path / 'in/**/*.tif'), tmp_path / 'in/out'
    assert _run([pattern], out).done == ['s0', 's1']
    again = _run([pattern], out)
    assert (again.done, again.before, again.own) == ([], 2, 4)
    with pytest.raises(DataError, match='all rasters that are named are results'):
        _run([str(out / 'scenes/*.tif')], out)


def test_what_lies_beside_a_scene_is_none(tmp_path):
    scenes = _scenes(tmp_path / 'in', 2)
    for name in ('s0.tif.ovr', 's0.tif.aux.xml', 's0.tfw', 's0.wld', 's1.tif.msk', 's2.tfw'):
        (tmp_path / 'in' / name).touch()
    found = list_scenes([str(tmp_path / 'in/*')])
    assert [one.scene for one in found] == [str(scenes[0]), str(scenes[1]), str(tmp_path / 'in/s2.tfw')]


def test_long_names_in_any_script(tmp_path):
    (tmp_path / 'in').mkdir()
    names = ['Ä' * 120, 'Ä' * 119 + 'ö', '景' * 80, 'a b  c']
    for name in names:
        write_scene(tmp_path / f'in/{name}.tif', blobs(70, 70))
    found = _run([str(tmp_path / 'in')], tmp_path / 'out', expressions=['船' * 60, '船' * 61])
    assert (len(found.done), found.failed) == (4, [])
    assert len({row['mask'] for row in found.rows}) == 8


def test_scenes_that_are_gone_or_replaced_are_told(tmp_path, monkeypatch):
    scenes = _scenes(tmp_path / 'in', 4)
    out = tmp_path / 'out'
    _run(scenes, out)
    monkeypatch.chdir(tmp_path)
    scenes[0] = scenes[0].relative_to(tmp_path)
    scenes[0].unlink()
    scenes[1].write_bytes(b'II*\0nothing')
    (out / 'scenes/s3.gpkg').unlink()
    found = _run(scenes[:2], out)
    assert found.outdated == ['s0', 's1']
    assert (found.done, found.replaced) == ([], [])
    assert [why.split(' ', 1)[1][:10] for _, why in found.failed] == ['is missing', 'cannot be ']
    assert (found.unnamed, found.lost) == (['s2'], ['s3'])
    assert [row['name'] for row in found.rows] == ['s0', 's1', 's2']
    assert _polygons(out / 'objects.gpkg') == sum(row['objects'] for row in found.rows)


def test_a_scene_that_is_replaced_while_it_is_run_is_done_again(tmp_path):
    (scene,) = _scenes(tmp_path / 'in', 1)

    class Replacing(Maker):
        def __call__(self):
            made = super().__call__()
            os.utime(scene, (1, 1))
            return made

    out = tmp_path / 'out'
    _run([scene], out, Replacing())  # before it is looked at
    assert _run([scene], out).before == 1

    made = Maker()()

    class Later(Maker):
        def __call__(self):
            class One(type(made)):
                def predict(self, images, expression):
                    os.utime(scene, (2, 2))
                    return super().predict(images, expression)

            return One(self.threshold)

    other = tmp_path / 'other'
    _run([scene], other, Later())
    assert _run([scene], other).replaced == ['s0']


def test_a_virtual_raster_is_replaced_when_its_tile_is(tmp_path):
    (scene,) = _scenes(tmp_path / 'in', 1)
    rasterio.shutil.copy(scene, tmp_path / 'mosaic.vrt', driver='VRT')
    assert _run([tmp_path / 'mosaic.vrt'], tmp_path / 'out').done == ['mosaic']
    assert _run([tmp_path / 'mosaic.vrt'], tmp_path / 'out').before == 1
    os.utime(scene, (1, 10**10))
    assert _run([tmp_path / 'mosaic.vrt'], tmp_path / 'out').replaced == ['mosaic']
    (tmp_path / 'mosaic.vrt').unlink()
    assert _run([tmp_path / 'mosaic.vrt'], tmp_path / 'out').outdated == ['mosaic']


def test_an_index_of_something_else_is_one_line(tmp_path):
    scenes = _scenes(tmp_path / 'in', 1)
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/index.jsonl').write_text('{"a": 1}\n')
    with pytest.raises(OutputError, match='a line has no scene'):
        _run(scenes, tmp_path / 'out')
    row = dict(scene='a', name='b', file=None, expression='x', polygons='c')
    for key in ('scene', 'name', 'expression', 'polygons'):
        (tmp_path / 'out/index.jsonl').write_text(json.dumps(row | {key: ['b']}) + '\n')
        with pytest.raises(OutputError, match=f'{key} of a line is no text'):
            _run(scenes, tmp_path / 'out')


@pytest.mark.parametrize('roles', [5, {'a': 1}, 'data', None])
def test_roles_that_are_none(tmp_path, roles):
    item = {'id': 'a', 'assets': {key: {'href': f'{key}.tif', 'roles': roles} for key in 'ab'}}
    (tmp_path / 'items.json').write_text(json.dumps({'features': [item]}))
    with pytest.raises(DataError, match='which of its assets is the scene'):
        list_scenes([str(tmp_path / 'items.json')])


def test_scenes_of_one_name(tmp_path):
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        write_scene(tmp_path / folder / 'visual.tif', blobs(90, 100))
    out = tmp_path / 'out'
    found = _run([tmp_path / 'a/visual.tif', tmp_path / 'b/visual.tif', tmp_path / 'a/visual.tif'], out)
    assert found.done == ['a-visual', 'b-visual']
    # A later scene of a name that is taken gets another, and a known one keeps its own.
    (tmp_path / 'c').mkdir()
    write_scene(tmp_path / 'c/a-visual.tif', blobs(90, 100))
    again = _run([tmp_path / 'c/a-visual.tif', tmp_path / 'b/visual.tif'], out)
    assert (again.done, again.before) == (['a-visual-2'], 1)


def test_lists_and_collections(tmp_path):
    scenes = _scenes(tmp_path / 'in', 3)
    (tmp_path / 'list.txt').write_text('# two\nin/s0.tif\n\nin/s2.tif\n')
    assert [one.name for one in list_scenes([str(tmp_path / 'list.txt')])] == ['s0', 's2']
    assert [one.name for one in list_scenes([str(tmp_path / 'in/s[12].tif'), str(scenes[1])])] == ['s1', 's2']
    item = {'type': 'Feature', 'id': 'tile-7', 'assets': {'thumb': {'href': 'a.png', 'type': 'image/png'}}}
    item['assets'] |= {
        key: {'href': f'in/{key}.tif', 'type': 'image/tiff; application=geotiff'} for key in ('s0', 's1')
    }
    (tmp_path / 'items.json').write_text(json.dumps({'type': 'FeatureCollection', 'features': [item]}))
    with pytest.raises(DataError, match=r'item tile-7: which of its assets is the scene \(s0, s1\)'):
        list_scenes([str(tmp_path / 'items.json')])
    item['assets']['visual'] = item['assets'].pop('s1')
    (tmp_path / 'items.json').write_text(json.dumps({'type': 'FeatureCollection', 'features': [item]}))
    ((path, name),) = list_scenes([str(tmp_path / 'items.json')])
    assert (os.path.realpath(path), name) == (str(scenes[1]), 'tile-7')
    assert [one.name for one in list_scenes(['https://host/a/T32.tif?x=1', '/vsicurl/https://host/b.tif'])] == [
        'T32',
        'b',
    ]


@pytest.mark.parametrize(
    'text', ['https://host/a.tif', '/vsicurl/https://host/a.tif', 's3://b/a.tif', 'a.vrt', 'NETCDF:a:b']
)
def test_a_local_file_never_names_an_address(tmp_path, text):
    (tmp_path / 'list.txt').write_text(f'{text}\n')
    item = {'id': 'a', 'assets': {'visual': {'href': text, 'type': 'image/tiff'}}}
    (tmp_path / 'items.json').write_text(json.dumps({'type': 'FeatureCollection', 'features': [item]}))
    for name in ('list.txt', 'items.json'):
        with pytest.raises(DataError, match='only where you name them yourself'):
            list_scenes([str(tmp_path / name)])


def test_names_that_no_file_has(tmp_path):
    (tmp_path / 'list.txt').write_text('a\0b.tif\n')
    with pytest.raises(DataError, match='is no path'):
        list_scenes([str(tmp_path / 'list.txt')])
    assert [one.scene for one in list_scenes(['x' * 5000])] == ['x' * 5000]


@pytest.mark.parametrize('content', ['', '\n# nothing\n'])
def test_nothing_to_do_is_one_line(tmp_path, content):
    (tmp_path / 'list.txt').write_text(content)
    (tmp_path / 'empty').mkdir()
    for given, why in [('list.txt', 'lists no scene'), ('empty', 'holds no raster'), ('*.tif', 'no file matches')]:
        with pytest.raises(DataError, match=why):
            _run([str(tmp_path / given)], tmp_path / 'out')
    with pytest.raises(DataError, match='no scene is named'):
        _run([], tmp_path / 'out')
    with pytest.raises(ConfigError, match='polygons are written as'):
        _run(['a.tif'], tmp_path / 'out', polygons=tmp_path / 'a.txt')
    assert not (tmp_path / 'out').exists()


def test_a_full_disk_fails_its_scenes_and_the_next_run_goes_on(tmp_path, small_disk):
    scenes = [write_scene(tmp_path / f'{i}.tif', blobs(300 + 700 * i, 300)) for i in range(2)]
    disk = small_disk(1500)
    found = _run(scenes, disk / 'out')
    assert found.done == ['0']
    assert len(found.failed) == 1
    assert 'left and this scene needs' in found.failed[0][1] or 'is full' in found.failed[0][1]
    with rasterio.open(disk / 'out/scenes/0.x.mask.tif') as mask:
        assert np.unique(mask.read(1)).tolist() == [0, 1]


def test_a_line_that_the_disk_took_half_of_is_none(small_disk):
    disk = small_disk(64)
    append_durably(disk / 'index.jsonl', b'first\n')
    (disk / 'full').write_bytes(bytes(52 << 10))
    with pytest.raises(OSError, match='No space left'):
        append_durably(disk / 'index.jsonl', b'x' * 20_000 + b'\n')
    (disk / 'full').unlink()
    append_durably(disk / 'index.jsonl', b'second\n')
    assert (disk / 'index.jsonl').read_bytes() == b'first\nsecond\n'


def test_a_disk_that_is_full_when_workers_are_asked_whether_they_see_it_is_one_line(small_disk):
    disk = small_disk(16)
    with suppress(OSError), open(disk / 'full', 'wb', buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    workers = LocalWorker()
    workers.apart = True
    with pytest.raises(OutputError, match='cannot be written'), token_in(disk, workers):
        pass


def test_damaged_polygons_of_a_finished_scene_are_named(tmp_path):
    scenes = _scenes(tmp_path / 'in', 2)
    out = tmp_path / 'out'
    _run(scenes, out)
    before = _files(out)
    (out / 'scenes/s0.gpkg').write_bytes(before['scenes/s0.gpkg'][:5000])
    (out / 'objects.gpkg').unlink()
    with pytest.raises(DataError, match='polygons of a scene that was finished, cannot be read any more'):
        _run(scenes, out)
    (out / 'scenes/s0.gpkg').unlink()
    _run(scenes, out)
    assert _files(out) == before
