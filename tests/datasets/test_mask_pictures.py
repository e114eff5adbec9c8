"""Masks as people and GIS save them: always the same object, or one line that says why it cannot be known."""

import numpy as np
import pytest
from PIL import Image

from rs2sam2.datasets.mask_pictures import read_mask
from rs2sam2.errors import DataError

TRUTH = np.zeros((20, 30), np.uint8)
TRUTH[4:12, 5:19] = 1
ON = TRUTH[..., None].astype(bool)


def palette(*colours, index=TRUTH, **options):
    picture = Image.fromarray(index.astype(np.uint8), mode='P')
    picture.putpalette([part for colour in colours for part in colour])
    return picture, options


WHITE, BLACK, RED, NEARLY = (255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 0, 1)


def coloured(ground, drawn, alpha=None):
    pixels = np.where(ON, drawn, ground).astype(np.uint8)
    return Image.fromarray(pixels if alpha is None else np.dstack([pixels, alpha]))


OPAQUE, SHOWN, HALF = (np.full_like(TRUTH, 255), TRUTH * 255, TRUTH * 128)
PICTURES = {
    '0 and 1': Image.fromarray(TRUTH),
    '0 and 255': Image.fromarray(TRUTH * 255),
    '1 bit': Image.fromarray(TRUTH.astype(bool)),
    'red': coloured(BLACK, RED),
    'nearly black, whose grey value is 0': coloured(BLACK, NEARLY),
    'black drawn on nothing': coloured(WHITE, BLACK, SHOWN),
    'white drawn on nothing': coloured(BLACK, WHITE, SHOWN),
    'white on transparent white': coloured(WHITE, WHITE, SHOWN),
    'red drawn half': coloured(WHITE, RED, HALF),
    'with an alpha that hides nothing': coloured(BLACK, WHITE, OPAQUE),
    'half transparent all over': coloured(BLACK, WHITE, OPAQUE // 2),
    'grey, alpha is the mask': Image.merge('LA', [Image.fromarray(OPAQUE), Image.fromarray(SHOWN)]),
    'grey black, alpha is the mask': Image.merge('LA', [Image.fromarray(OPAQUE * 0), Image.fromarray(SHOWN)]),
    'grey is the mask, opaque': Image.merge('LA', [Image.fromarray(SHOWN), Image.fromarray(OPAQUE)]),
    'grey is the mask, alpha as well': Image.merge('LA', [Image.fromarray(SHOWN), Image.fromarray(SHOWN)]),
    'palette of VOC': palette(BLACK, (128, 0, 0)),
    'palette, ground white': palette(WHITE, RED),
    'palette, ground grey': palette((200, 200, 200), (0, 0, 255)),
    'palette, all black': palette(BLACK, BLACK),
    'palette, nearly black': palette(BLACK, NEARLY),
    'palette, black last': palette(RED, RED, BLACK, index=np.where(TRUTH, 1, 2)),
    'palette, ground transparent': palette(WHITE, RED, transparency=0),
    'palette, ground transparent, object black': palette(WHITE, BLACK, transparency=0),
    'palette, object 0, ground transparent': palette(RED, WHITE, index=1 - TRUTH, transparency=1),
    'grey with a transparent value': (Image.fromarray(np.where(TRUTH, 9, 70).astype(np.uint8)), dict(transparency=70)),
    '16 bits, ids of objects': Image.fromarray(TRUTH.astype(np.uint16) * 1000),
    'several classes': Image.fromarray(TRUTH * (np.arange(30) % 3 + 1).astype(np.uint8)),
}


@pytest.mark.parametrize('name', PICTURES)
def test_png(tmp_path, name):
    picture, options = PICTURES[name] if isinstance(PICTURES[name], tuple) else (PICTURES[name], {})
    picture.save(tmp_path / 'm.png', **options)
    found = read_mask(tmp_path / 'm.png')
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, TRUTH)


def geotiff(path, values, **profile):
    rasterio = pytest.importorskip('rasterio')
    colours = profile.pop('colours', None)
    bands = values[None] if values.ndim == 2 else values
    count, height, width = bands.shape
    with rasterio.open(
        path, 'w', driver='GTiff', height=height, width=width, count=count, dtype=bands.dtype, **profile
    ) as file:
        file.write(bands)
        if colours:
            file.write_colormap(1, colours)
    return path


def marked(ground, value, nodata, dtype):
    """The object on ground, and a border of nodata."""
    values = np.where(TRUTH, value, ground).astype(dtype)
    values[:2], values[:, -3:] = nodata, nodata
    return values


@pytest.mark.parametrize(
    ('values', 'profile'),
    [
        (marked(0, 1, 255, 'uint8'), dict(nodata=255)),
        (marked(255, 1, 255, 'uint8'), dict(nodata=255)),
        (marked(0, 255, 0, 'uint8'), dict(nodata=0)),
        (marked(0, 1, -1, 'int8'), dict(nodata=-1)),
        (marked(0, 7, 65535, 'uint16'), dict(nodata=65535)),
        (marked(0, 7, -9999, 'int16'), dict(nodata=-9999)),
        (marked(0, 70000, 2**31 - 1, 'int32'), dict(nodata=2**31 - 1)),
        (marked(0, 1, np.nan, 'float32'), dict(nodata=np.nan)),
        (marked(np.nan, 1, np.nan, 'float32'), {}),
        (marked(0, 0.5, -3.4028234663852886e38, 'float32'), dict(nodata=-3.4028234663852886e38)),
        (marked(0, 1, 15, 'uint8'), dict(nodata=15, nbits=4)),
        (marked(0, 1, 3, 'uint8'), dict(nodata=3, nbits=2)),
        (marked(0, 1, 255, 'uint8'), dict(nodata=255, compress='lzw', tiled=True, blockxsize=16, blockysize=16)),
        (marked(0, 1, 255, 'uint8'), dict(nodata=255, photometric='minisblack', compress='deflate', predictor=2)),
        (marked(0, 1, 9, 'uint8'), dict(nodata=9, colours={0: (255, 255, 255), 1: (255, 0, 0), 9: (0, 0, 0)})),
        (marked(0, 1, 0, 'uint8'), dict(nodata=0, colours={0: (255, 255, 255), 1: (0, 0, 0)})),
        (np.stack([marked(0, 200, 0, 'uint8')] * 3 + [TRUTH * 255]), dict(photometric='RGB', alpha='yes')),
    ],
    ids=str,
)
def test_geotiff(tmp_path, values, profile):
    np.testing.assert_array_equal(read_mask(geotiff(tmp_path / 'm.tif', values, **profile)), TRUTH)


@pytest.mark.parametrize(
    ('picture', 'message'),
    [
        (coloured(BLACK, WHITE, OPAQUE * 0), 'transparent all over'),
        (palette(WHITE, BLACK), 'index 0 is a colour and index 1 black: which is the ground'),
    ],
)
def test_what_cannot_be_known_is_refused(tmp_path, picture, message):
    picture, options = picture if isinstance(picture, tuple) else (picture, {})
    picture.save(tmp_path / 'm.png', **options)
    with pytest.raises(DataError, match=rf'm\.png .*{message}') as caught:
        read_mask(tmp_path / 'm.png')
    assert '0 for the ground and 255 for the object' in str(caught.value)


def test_an_object_that_is_called_nodata_is_refused(tmp_path):
    with pytest.raises(DataError, match='no pixel but 0 and its nodata value 255'):
        read_mask(geotiff(tmp_path / 'm.tif', TRUTH * 255, nodata=255))


def test_deep_colours_are_refused_as_masks(tmp_path):
    path = geotiff(tmp_path / 'm.tif', np.stack([TRUTH.astype(np.uint16)] * 3), photometric='RGB')
    with pytest.raises(DataError, match='has 16 bits a channel'):
        read_mask(path)
    with pytest.raises(DataError, match='has 16 bits a channel'):
        read_mask(geotiff(tmp_path / 'm.tif', TRUTH.astype(np.uint16)), above=50)


def test_a_turned_mask_is_turned_with_its_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(TRUTH * 255).save(tmp_path / 'm.png', exif=exif)
    np.testing.assert_array_equal(read_mask(tmp_path / 'm.png'), np.rot90(TRUTH, -1))
