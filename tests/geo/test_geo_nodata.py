"""A no-data value that the user names: on exactly the right pixels, or refused."""

import numpy as np
import pytest

pytest.importorskip('rasterio')

import rasterio
import rasterio.shutil
from rasterio.transform import from_origin

from helpers.geo_scenes import UTM, BrightThings, write_scene
from rs2sam2.errors import ConfigError
from rs2sam2.geo.nodata import parse_nodata
from rs2sam2.geo.rasters import NODATA
from rs2sam2.geo.reader import SceneReader
from rs2sam2.geo.scene import segment_scene

LOWEST = np.finfo(np.float32).min


def _valid(path, **options):
    reader = SceneReader(path, **options)
    try:
        _, read = reader.read(0, 0, *reader.shape)
        valid = reader.valid(0, 0, *reader.shape)
        assert (read is None) == (valid is None)
        if valid is not None:
            np.testing.assert_array_equal(read, valid)
        return np.ones(reader.shape, bool) if valid is None else valid
    finally:
        reader.close()


def _ramp(dtype, marks=()):
    """A raster (1, 8, 10) of different numbers, the first of them replaced by `marks`."""
    data = np.arange(20, 100, dtype=dtype).reshape(1, 8, 10)
    data.reshape(-1)[: len(marks)] = marks
    return data


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
@pytest.mark.parametrize(
    'number', [-3.4028234663852886e38, -3.40282346638529e38, -3.4028235e38, -3.402823e38, -3.40282e38, -3.4e38]
)
def test_the_lowest_float32_by_its_digits(tmp_path, dtype, number):
    data = _ramp(dtype, [LOWEST, LOWEST, -9999, 0])
    valid = _valid(write_scene(tmp_path / 'a.tif', data), nodata=number)
    np.testing.assert_array_equal(valid, data[0] != LOWEST)


@pytest.mark.parametrize(
    ('dtype', 'value', 'number'),
    [
        (np.float32, 0.1, 0.1),
        (np.float32, -9999.9, -9999.9),
        (np.float32, 16777217, 16777217),
        (np.float64, 0.1, 0.1),
        (np.float64, -1.7976931348623157e308, -1.7976931348623e308),
        (np.float32, 1e30, 1e30),
        (np.uint8, 0, 0),
        (np.uint8, 255, 255.0),
        (np.int16, -32768, -32768),
        (np.uint16, 65535, 65535.0),
        (np.int32, -2147483648, -2147483648),
        (np.uint32, 4294967295, 4294967295.0),
        (np.float32, -9999, np.float32(-9999)),
        (np.int16, -9999, np.int64(-9999)),
    ],
)
def test_exactly_the_pixels_of_the_value(tmp_path, dtype, value, number):
    data = _ramp(dtype, [value, value])
    if data.dtype.kind == 'f' and abs(value) < 1e300:
        # GDAL's own comparison would take the neighbours of a float as well.
        data.reshape(-1)[2:4] = [np.nextafter(dtype(value), dtype(0)), np.nextafter(dtype(value), dtype(1))]
    valid = _valid(write_scene(tmp_path / 'a.tif', data), nodata=number)
    np.testing.assert_array_equal(valid, data[0] != dtype(value))


@pytest.mark.parametrize('dtype', ['int64', 'uint64'])
def test_the_ends_of_64_bits(tmp_path, dtype):
    for value in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        data = _ramp(dtype, [value])
        valid = _valid(write_scene(tmp_path / 'a.tif', data), nodata=int(value))
        np.testing.assert_array_equal(valid, data[0] != value)


@pytest.mark.parametrize('number', [float('nan'), float('inf'), float('-inf')])
def test_nan_and_infinity(tmp_path, number):
    data = _ramp(np.float32, [np.nan, np.inf, -np.inf, 0])
    valid = _valid(write_scene(tmp_path / 'a.tif', data, nodata=0), nodata=number)
    # Never data; the file's own value no longer counts.
    np.testing.assert_array_equal(valid, np.isfinite(data[0]))


@pytest.mark.parametrize(
    ('dtype', 'number'),
    [
        (np.uint8, -9999),
        (np.uint8, 256),
        (np.uint8, 0.5),
        (np.uint8, float('nan')),
        (np.uint16, float('inf')),
        (np.int16, -3.4028235e38),
        (np.float32, 1e39),
        (np.float32, -1.7976931348623157e308),
        (np.uint8, 10**400),
        (np.float32, 10**400),
    ],
)
def test_what_no_pixel_can_be_is_refused(tmp_path, dtype, number):
    scene = write_scene(tmp_path / 'a.tif', _ramp(dtype))
    with pytest.raises(ConfigError, match=r'is no value of .*a\.tif, whose pixels are') as caught:
        SceneReader(scene, nodata=number)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('number', ['0', '-9999', [0], 1j])
def test_what_is_no_number_is_refused(tmp_path, number):
    with pytest.raises(ConfigError, match='is no number'):
        SceneReader(write_scene(tmp_path / 'a.tif', _ramp(np.uint8)), nodata=number)


def test_a_value_that_no_pixel_has_is_told(tmp_path):
    scene = write_scene(tmp_path / 'a.tif', np.full((3, 40, 50), 90, np.uint8))
    for number, told in ((7, True), (90, False)):
        result = segment_scene(
            scene, 'x', BrightThings(), mask=tmp_path / 'm.tif', nodata=number, window=32, progress=False
        )
        assert any('no pixel' in note for note in result.notes) == told
        assert result.valid_pixels == (2000 if told else 0)


def _mosaic(folder):
    """A virtual raster of two tiles side by side, and what it shows; 7 and 9 are in both."""
    rng = np.random.default_rng(0)
    data = rng.integers(1, 255, (3, 60, 100), dtype=np.uint8)
    data[:, 10:30, 40:70] = 7
    data[:, 40:50, 20:90] = 9
    for name, columns in (('left', slice(0, 50)), ('right', slice(50, 100))):
        place = UTM | dict(transform=from_origin(4e5 + columns.start * 0.5, 5.3e6, 0.5, 0.5))
        write_scene(folder / f'{name}.tif', data[..., columns], **place, nodata=9)
    sources = ''.join(
        f'<VRTRasterBand dataType="Byte" band="{band}">'
        + ''.join(
            f'<SimpleSource><SourceFilename relativeToVRT="1">{name}.tif</SourceFilename>'
            f'<SourceBand>{band}</SourceBand>'
            f'<SrcRect xOff="0" yOff="0" xSize="50" ySize="60"/><DstRect xOff="{x}" yOff="0" xSize="50" ySize="60"/>'
            '</SimpleSource>'
            for name, x in (('left', 0), ('right', 50))
        )
        + '</VRTRasterBand>'
        for band in (1, 2, 3)
    )
    place = ', '.join(map(str, UTM['transform'].to_gdal()))
    text = f'<SRS>EPSG:32632</SRS><GeoTransform>{place}</GeoTransform>{sources}'
    (folder / 'mosaic.vrt').write_text(f'<VRTDataset rasterXSize="100" rasterYSize="60">{text}</VRTDataset>')
    return folder / 'mosaic.vrt', data


def test_a_mosaic_keeps_its_sources(tmp_path):
    """Not the pixels of one file for all: each source of a virtual raster stays what it is."""
    mosaic, data = _mosaic(tmp_path)
    for number in (7, 9):
        reader = SceneReader(mosaic, nodata=number)
        image, valid = reader.read(0, 0, 60, 100)
        reader.close()
        np.testing.assert_array_equal(image, data.transpose(1, 2, 0))
        np.testing.assert_array_equal(valid, (data != number).any(0))
    recorder = BrightThings(threshold=-50)
    result = segment_scene(
        mosaic, 'x', recorder, mask=tmp_path / 'm.tif', nodata=7, window=64, overlap=0, progress=False
    )
    with rasterio.open(result.mask) as mask:
        np.testing.assert_array_equal(mask.read(1) == NODATA, (data == 7).all(0))


def test_a_crop_keeps_its_window(tmp_path):
    data = np.random.default_rng(0).integers(1, 255, (3, 60, 100), dtype=np.uint8)
    data[:, 20:30, 40:60] = 7
    scene = write_scene(tmp_path / 'a.tif', data)
    band = (
        '<VRTRasterBand dataType="Byte" band="{band}"><SimpleSource><SourceFilename relativeToVRT="1">a.tif'
        '</SourceFilename><SourceBand>{band}</SourceBand><SrcRect xOff="30" yOff="10" xSize="50" ySize="40"/>'
        '<DstRect xOff="0" yOff="0" xSize="50" ySize="40"/></SimpleSource></VRTRasterBand>'
    )
    bands = ''.join(band.format(band=number) for number in (1, 2, 3))
    (tmp_path / 'crop.vrt').write_text(f'<VRTDataset rasterXSize="50" rasterYSize="40">{bands}</VRTDataset>')
    crop = data[:, 10:50, 30:80]
    reader = SceneReader(tmp_path / 'crop.vrt', nodata=7)
    image, valid = reader.read(0, 0, 40, 50)
    reader.close()
    np.testing.assert_array_equal(image, crop.transpose(1, 2, 0))
    np.testing.assert_array_equal(valid, (crop != 7).any(0))
    # A virtual raster of a virtual raster, and one of a part of a file.
    rasterio.shutil.copy(scene, tmp_path / 'a.nc', driver='netCDF', FORMAT='NC4')
    for name in (f'vrt://{scene}?bands=1', f'NETCDF:{tmp_path}/a.nc:Band1'):
        valid = _valid(name, nodata=7)
        assert (~valid).sum() == (data[0] == 7).sum()


def test_reduced_pixels_leave_it_out(tmp_path):
    """As with the file's own value: the mean of what is data, also where overviews were made without the value."""
    data = np.full((3, 400, 400), 100, np.uint8)
    data[:, :, 1::2] = 0
    data[:, 100:200] = 0
    named = write_scene(tmp_path / 'named.tif', data)
    own = write_scene(tmp_path / 'own.tif', data, nodata=0)
    with rasterio.open(named, 'r+') as raster:
        raster.build_overviews([2, 4], rasterio.enums.Resampling.average)
    images = []
    for scene, options in ((named, dict(nodata=0)), (own, {})):
        reader = SceneReader(scene, gsd=2.0, **options)
        images.append(reader.read(0, 0, 100, 100))
        reader.close()
    (image, valid), (expected, expected_valid) = images
    np.testing.assert_array_equal(valid, expected_valid)
    np.testing.assert_array_equal(image[valid], expected[valid])
    assert set(np.unique(image[valid])) == {100}


def test_bands_of_different_types_each_have_the_value(tmp_path):
    for name, dtype in (('byte', np.uint8), ('float', np.float32)):
        write_scene(tmp_path / f'{name}.tif', _ramp(dtype, [7, 7]))
    bands = ''.join(
        f'<VRTRasterBand dataType="{kind}" band="{band}"><SimpleSource><SourceFilename relativeToVRT="1">{name}.tif'
        '</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>'
        for band, (kind, name) in enumerate((('Byte', 'byte'), ('Float32', 'float'), ('Byte', 'byte')), 1)
    )
    (tmp_path / 'a.vrt').write_text(f'<VRTDataset rasterXSize="10" rasterYSize="8">{bands}</VRTDataset>')
    np.testing.assert_array_equal(_valid(tmp_path / 'a.vrt', nodata=7), _ramp(np.uint8, [7, 7])[0] != 7)
    with pytest.raises(ConfigError, match='whose pixels are uint8'):
        SceneReader(tmp_path / 'a.vrt', nodata=-9999)


@pytest.mark.parametrize('declared', [-9999, 256, float('nan')])
def test_a_value_of_the_file_that_no_pixel_can_be_is_none(tmp_path, declared):
    data = _ramp(np.uint8, [0, 1])
    scene = write_scene(tmp_path / 'a.vrt.tif', data)
    rasterio.shutil.copy(scene, tmp_path / 'a.vrt', driver='VRT')
    text = (
        (tmp_path / 'a.vrt')
        .read_text()
        .replace('</VRTRasterBand>', f'<NoDataValue>{declared}</NoDataValue></VRTRasterBand>')
    )
    (tmp_path / 'b.vrt').write_text(text)
    assert _valid(tmp_path / 'b.vrt').all()


def test_as_it_is_typed():
    largest = float(np.finfo(np.float64).max)
    assert parse_nodata(' 255 ') == 255
    assert parse_nodata('9223372036854775807') == 2**63 - 1
    assert isinstance(parse_nodata('9223372036854775807'), int)
    assert parse_nodata('-3.4028235e+38') == -3.4028235e38
    assert parse_nodata('-1.79769313486232e+308') == -largest
    assert parse_nodata('-1.7976931348623157e+308') == -largest
    assert np.isnan(parse_nodata('NaN'))
    assert parse_nodata('-inf') == -np.inf
    for text in ('none', '', '0,5', '1e', '0x10', '-1.9e308', '1e400'):
        with pytest.raises(ConfigError, match=r'is no number|beyond what a pixel can hold'):
            parse_nodata(text)
