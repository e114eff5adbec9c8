"""What may be opened under which name, and where a scene may come from."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rasterio')

import rasterio
import rasterio.shutil

from helpers.geo_scenes import BrightThings, blobs, write_scene
from helpers.servers import serve_files
from rs2sam2.errors import DataError
from rs2sam2.geo.reader import SceneReader
from rs2sam2.geo.scene import segment_scene
from rs2sam2.geo.sources import find_upload

PASSWD = """<VRTDataset rasterXSize="20" rasterYSize="20"><VRTRasterBand dataType="Byte" band="1"
subClass="VRTRawRasterBand"><SourceFilename relativetoVRT="0">/etc/passwd</SourceFilename><ImageOffset>0</ImageOffset>
<PixelOffset>1</PixelOffset><LineOffset>20</LineOffset></VRTRasterBand></VRTDataset>"""
WMS = """<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service><DataWindow>
<UpperLeftX>-20037508</UpperLeftX><UpperLeftY>20037508</UpperLeftY><LowerRightX>20037508</LowerRightX>
<LowerRightY>-20037508</LowerRightY><TileLevel>2</TileLevel><TileCountX>1</TileCountX><TileCountY>1</TileCountY>
<YOrigin>top</YOrigin></DataWindow><Projection>EPSG:3857</Projection><BlockSizeX>256</BlockSizeX>
<BlockSizeY>256</BlockSizeY><BandsCount>3</BandsCount></GDAL_WMS>"""
WMTS = '<GDAL_WMTS><GetCapabilitiesUrl>{url}/capabilities.xml</GetCapabilitiesUrl><Layer>x</Layer></GDAL_WMTS>'
REMOTE = """<VRTDataset rasterXSize="60" rasterYSize="60"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>
<SourceFilename relativetoVRT="0">/vsicurl/{url}/a.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource>
</VRTRasterBand></VRTDataset>"""


def _open(path, **options):
    reader = SceneReader(path, **options)
    try:
        return reader.read(0, 0, *reader.shape)[0], reader.notes
    finally:
        reader.close()


def _refused(match, path, **options):
    with pytest.raises(DataError, match=match) as caught:
        _open(path, **options)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('suffix', ['.tif', '.TIFF', '.png', '.jpg', '.jp2', '.img', '', '.dat', '.nc'])
@pytest.mark.parametrize('text', [PASSWD, WMS, WMTS, REMOTE])
def test_a_text_that_refers_elsewhere_is_opened_under_no_other_name(tmp_path, text, suffix):
    write_scene(tmp_path / 'a.tif', blobs(60, 60))
    with serve_files(tmp_path) as (url, asked):
        path = tmp_path / f'scene{suffix}'
        path.write_text(text.format(url=url))
        _refused('name does not say so: where that is meant, call it .vrt or .xml', path)
        _refused(r'cannot be read as a raster', find_upload(path))
    assert not asked


def test_an_upload_is_a_geotiff_whatever_it_is_called(tmp_path):
    for suffix in ('.vrt', '.xml'):
        (tmp_path / f'a{suffix}').write_text(PASSWD)
        _refused(f'a{suffix} cannot be read as a raster', find_upload(tmp_path / f'a{suffix}'))
    write_scene(tmp_path / 'b.png', blobs(60, 60), driver='PNG', crs=None, transform=None)
    _refused('cannot be read as a raster', find_upload(tmp_path / 'b.png'))
    pixels, _ = _open(find_upload(write_scene(tmp_path / 'c.vrt', blobs(60, 60))))
    np.testing.assert_array_equal(pixels, blobs(60, 60).transpose(1, 2, 0))
    # Messages do not say where uploads lie.
    with pytest.raises(DataError) as caught:
        _open(find_upload(tmp_path / 'a.vrt'))
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize('kind', ['tag', 'sidecar'])
def test_a_geotiff_does_not_show_another_file_as_its_reduced_pixels(tmp_path, kind):
    data = np.full((3, 512, 512), 10, np.uint8)
    other = write_scene(tmp_path / 'other.tif', np.full((3, 256, 256), 200, np.uint8))
    scene = write_scene(tmp_path / 'scene.tif', data)
    if kind == 'tag':
        with rasterio.open(scene, 'r+') as raster:
            raster.update_tags(ns='OVERVIEWS', OVERVIEW_FILE=str(other))
    else:
        item = f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{other}</MDI></Metadata>'
        (tmp_path / 'scene.tif.aux.xml').write_text(f'<PAMDataset>{item}</PAMDataset>')
    with rasterio.open(scene) as raster:
        assert raster.read(1, out_shape=(256, 256)).max() == 200
    for source in (scene, find_upload(scene)):
        reader = SceneReader(source)
        assert reader.read_whole(200).max() == 10
        reader.close()


def test_what_is_named_as_virtual_is_opened_and_noted(tmp_path):
    scene = write_scene(tmp_path / 'a.tif', blobs(60, 60))
    rasterio.shutil.copy(scene, tmp_path / 'a.vrt', driver='VRT')
    pixels, notes = _open(tmp_path / 'a.vrt')
    np.testing.assert_array_equal(pixels, blobs(60, 60).transpose(1, 2, 0))
    assert notes == [f'{tmp_path}/a.vrt is a virtual raster: its pixels come from {scene}']
    assert _open(scene)[1] == []
    (tmp_path / 'b.vrt').write_text(PASSWD)
    assert '/etc/passwd' in _open(tmp_path / 'b.vrt')[1][0]


def test_pipes_devices_and_folders_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'pipe.tif')
    for path in (tmp_path / 'pipe.tif', '/dev/zero', '/dev/null', '/dev/stdin'):
        if Path(path).exists():
            _refused('is a (named pipe|device), not a file', path)
    _refused('cannot be read as a raster', tmp_path)
    _refused('is missing', tmp_path / 'gone.tif')


@pytest.mark.parametrize('name', ['{url}/scene.tif', '/vsicurl/{url}/scene.tif', '{url}/scene.tif?token=a%2Fb'])
def test_a_remote_raster(tmp_path, name):
    data = blobs(200, 240)
    (tmp_path / 'served').mkdir()
    write_scene(tmp_path / 'served/scene.tif', data, tiled=True, blockxsize=64, blockysize=64)
    with serve_files(tmp_path / 'served') as (url, _):
        name = name.format(url=url)
        result = segment_scene(name, 'x', BrightThings(), mask=tmp_path / 'mask.tif', window=64, progress=False)
        assert any('is read over the network' in note for note in result.notes)
        local = tmp_path / 'served/scene.tif'
        segment_scene(local, 'x', BrightThings(), mask=tmp_path / 'local.tif', window=64, progress=False)
        _refused(r'gone\.tif cannot be read as a raster .*is the address right', f'{url}/gone.tif')
        # What the server sends decides no more than a local file does.
        (tmp_path / 'served/trap.tif').write_text(PASSWD)
        _refused(r'trap\.tif cannot be read as a raster', f'{url}/trap.tif')
    with rasterio.open(tmp_path / 'mask.tif') as mask, rasterio.open(tmp_path / 'local.tif') as expected:
        np.testing.assert_array_equal(mask.read(1), expected.read(1))
        assert (mask.crs, mask.transform) == (expected.crs, expected.transform)


def test_a_server_that_is_gone_or_sends_whole_files_only_is_told(tmp_path):
    write_scene(tmp_path / 'a.tif', blobs(400, 400))
    _refused('is the address right', 'http://127.0.0.1:9/a.tif')
    with serve_files(tmp_path, parts=False) as (url, _):
        _refused('does its server send parts of files', f'{url}/a.tif')


def test_subdatasets(tmp_path):
    scene = write_scene(tmp_path / 'a.tif', blobs(60, 70))
    rasterio.shutil.copy(scene, tmp_path / 'a.nc', driver='netCDF', FORMAT='NC4')
    shutil.copy(tmp_path / 'a.nc', tmp_path / 'a.h5')
    _refused(
        r'a\.nc holds no bands of its own; name one of its subdatasets: netcdf:.*Band1, .*Band3$', tmp_path / 'a.nc'
    )
    _refused(r'name one of its subdatasets: HDF5:.*//Band1, ', tmp_path / 'a.h5')
    for name in (f'NETCDF:{tmp_path}/a.nc:Band2', f'NETCDF:"{tmp_path}/a.nc":Band2', f'HDF5:"{tmp_path}/a.h5"://Band2'):
        pixels, _ = _open(name)
        assert pixels.shape == (60, 70, 3)
        assert {pixels[0, 0, 0], pixels[-1, 0, 0]} == {blobs(60, 70)[1, 0, 0], blobs(60, 70)[1, -1, 0]}
    _refused('cannot be read as a raster', f'NETCDF:{tmp_path}/gone.nc:Band1')
    _refused('cannot be read as a raster', f'NETCDF:{tmp_path}/a.nc:gone')
