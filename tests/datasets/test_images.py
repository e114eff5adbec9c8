"""Image files as people have them: depths, orientations, sizes, kinds of files. A right picture or one clear line."""

import os
import pickle
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

from rs2sam2.datasets.images import image_size, read_image, read_picture
from rs2sam2.errors import ConfigError, DataError
from rs2sam2.inference.images import list_images, load_image

# Twelve bits, as sensors give them: PIL keeps the upper 8 of 16, which shows nearly nothing.
DEEP = np.random.default_rng(0).integers(0, 4096, (12, 17, 4), np.uint16)


def deep_file(folder, name):
    """A colour picture of 16 bits a channel, written by OpenCV, rasterio or by hand."""
    path = folder / name
    bands = DEEP if 'alpha' in name else DEEP[..., :3]
    if path.suffix == '.jp2' or 'planar' in name or 'deflate' in name:
        rasterio = pytest.importorskip('rasterio')
        options = dict(driver='GTiff', interleave='band' if 'planar' in name else 'pixel', photometric='RGB')
        options |= dict(compress='deflate') if 'deflate' in name else {}
        options = dict(driver='JP2OpenJPEG', reversible='yes', quality=100) if path.suffix == '.jp2' else options
        height, width, count = bands.shape
        with rasterio.open(path, 'w', height=height, width=width, count=count, dtype='uint16', **options) as file:
            file.write(bands.transpose(2, 0, 1))
    elif path.suffix == '.ppm' and 'plain' in name:
        numbers = ' '.join(map(str, bands.ravel()))
        path.write_text(f'P3\n17 12\n4095\n{numbers}\n')
    elif path.suffix == '.ppm':
        path.write_bytes(b'P6\n17 12\n4095\n' + bands.astype('>u2').tobytes())
    else:
        assert cv2.imwrite(str(path), bands)
    return path


DEEP_FILES = (
    'rgb.png',
    'alpha.png',
    'rgb.tif',
    'alpha.tif',
    'planar.tif',
    'planar_alpha.tif',
    'deflate.tif',
    'rgb.ppm',
)
DEEP_FILES += ('plain.ppm', 'rgb.jp2')


@pytest.mark.parametrize('name', DEEP_FILES)
def test_colours_of_more_than_8_bits_are_refused(tmp_path, name):
    path = deep_file(tmp_path, name)
    with pytest.raises(DataError, match=rf'{name} has 1[26] bits a channel') as caught:
        read_image(path, 'RGB')
    assert '\n' not in str(caught.value)
    with pytest.raises(DataError, match=rf'{name} has 1[26] bits a channel'):
        load_image(path)
    with Image.open(path) as image, pytest.raises(DataError, match=r'has 1[26] bits a channel'):
        load_image(image)
    assert image_size(path) == (12, 17)


@pytest.mark.parametrize('name', ['rgb.png', 'rgb.tif', 'rgb.ppm', 'rgb.jp2', 'rgb.webp', 'rgb.bmp', 'planar.tif'])
def test_colours_of_8_bits_are_read_as_they_are(tmp_path, name):
    pixels = (DEEP[..., :3] // 16).astype(np.uint8)
    path = tmp_path / name
    if name == 'planar.tif':
        rasterio = pytest.importorskip('rasterio')
        profile = dict(driver='GTiff', height=12, width=17, count=3, dtype='uint8', photometric='RGB')
        with rasterio.open(path, 'w', **profile, interleave='band') as file:
            file.write(pixels.transpose(2, 0, 1))
    else:
        Image.fromarray(pixels).save(path, **(dict(lossless=True) if name.endswith('webp') else {}))
    np.testing.assert_array_equal(read_image(path, 'RGB'), pixels)


@pytest.mark.parametrize('suffix', ['jp2', 'tif', 'png', 'jpg'])
def test_images_in_memory_are_read_whatever_was_done_to_them(tmp_path, suffix):
    made = Image.fromarray(np.full((8, 6, 3), 200, np.uint8))
    made.save(path := tmp_path / f'a.{suffix}')
    with Image.open(path) as loaded:
        loaded.load()
    opened = Image.open(path)
    for image in (made, made.crop((0, 0, 6, 8)), opened, opened.copy(), loaded, pickle.loads(pickle.dumps(loaded))):
        assert abs(load_image(image).pixels.astype(int) - 200).max() < 3
    with pytest.raises(DataError, match='mode I;16'):
        load_image(Image.fromarray(np.zeros((8, 6), np.uint16)))


def test_an_8_bit_colour_map_in_a_tiff_is_not_black(tmp_path):
    path = tmp_path / 'p.tif'
    picture = Image.fromarray(np.array([[0, 1], [1, 2]], np.uint8), mode='P')
    picture.putpalette([10, 20, 30, 200, 100, 50, 0, 255, 7])
    picture.save(path)
    right = read_image(path, 'RGB')
    content = path.read_bytes()
    with Image.open(path) as file:
        colours = np.array(file.tag_v2[320], '<u2')
    assert content.count(colours.tobytes()) == 1
    path.write_bytes(content.replace(colours.tobytes(), (colours // 256).astype('<u2').tobytes()))
    np.testing.assert_array_equal(read_image(path, 'RGB'), right)


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.webp', '.tif'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_turns_a_picture_upright(tmp_path, suffix, orientation):
    path = tmp_path / f'turned{suffix}'
    stored = np.zeros((24, 40, 3), np.uint8)
    stored[:12, :10] = (250, 0, 0)  # a corner that tells all eight apart
    stored[12:, :10] = (0, 0, 250)
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = (
        dict(quality=100, subsampling=0) if suffix == '.jpg' else dict(lossless=True) if suffix == '.webp' else {}
    )
    Image.fromarray(stored).save(path, exif=exif, **lossless)
    # By the table of EXIF 2.3: which side of the stored picture is the top, and which the left one.
    turned = {
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1), 7: np.rot90(stored[:, ::-1], -1), 8: np.rot90(stored),
    }[orientation]  # fmt: skip
    picture = read_picture(path, 'RGB')
    assert picture.pixels.shape == turned.shape
    assert np.abs(picture.pixels.astype(int) - turned).max() < (60 if suffix == '.jpg' else 1)
    assert picture.orientation == orientation
    assert image_size(path) == turned.shape[:2]
    notes = load_image(path).notes
    assert (notes == ()) == (orientation == 1)
    if suffix == '.jpg':  # what mmcv's loader and OpenCV users see
        assert np.abs(cv2.imread(str(path))[..., ::-1].astype(int) - turned).max() < 60


def test_broken_exif_says_nothing(tmp_path):
    path = tmp_path / 'a.jpg'
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(path, exif=b'Exif\0\0II*\0\xff\xff\xff\x7f')
    assert read_picture(path, 'RGB').orientation == 1
    assert image_size(path) == (8, 9)


def test_threads_leave_the_filters_of_warnings_as_they_were(tmp_path):
    path = tmp_path / 'a.jpg'
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(path, exif=b'Exif\0\0II*\0\xff\xff\xff\x7f')
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        sizes = set(pool.map(image_size, [path] * 200))
    assert sizes == {(8, 9)}
    assert warnings.filters == before


def bomb(path, width, height):
    """A PNG of one colour: a few kB for any size."""
    rows = zlib.compress(b'\0' * ((width + 7) // 8 + 1) * 64)
    chunks = [(b'IHDR', struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0)), (b'IDAT', rows), (b'IEND', b'')]
    content = b''.join(
        struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data)) for name, data in chunks
    )
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + content)
    return path


def test_sizes_are_bounded_before_anything_is_decoded(tmp_path, monkeypatch, recwarn):
    for width, height in ((10_000, 9_000), (30_000, 30_000), (60_000, 60_000)):
        path = bomb(tmp_path / 'bomb.png', width, height)
        for read in (lambda path: read_image(path, 'RGB'), image_size, load_image):
            with pytest.raises(DataError, match=r'more than 89,478,485 pixels.*RS2SAM2_MAX_PIXELS'):
                read(path)
    assert not recwarn.list
    Image.new('L', (100, 100)).save(tmp_path / 'a.png')
    monkeypatch.setenv('RS2SAM2_MAX_PIXELS', '9999')
    with pytest.raises(DataError, match='more than 9,999 pixels'):
        read_image(tmp_path / 'a.png', 'RGB')
    monkeypatch.setenv('RS2SAM2_MAX_PIXELS', str(10**10))
    assert image_size(path) == (60_000, 60_000)
    monkeypatch.setenv('RS2SAM2_MAX_PIXELS', 'many')
    with pytest.raises(ConfigError, match='RS2SAM2_MAX_PIXELS=many: give a whole number'):
        read_image(tmp_path / 'a.png', 'RGB')


def test_pages_of_a_tiff_are_counted_up_to_a_hundred(tmp_path):
    page = Image.new('L', (4, 4), 7)
    for pages, said in ((3, 3), (150, 100)):
        page.save(tmp_path / 'a.tif', save_all=True, append_images=[page] * (pages - 1))
        assert read_picture(tmp_path / 'a.tif', 'RGB').frames == said


def test_overviews_and_masks_of_a_geotiff_are_no_pages(tmp_path):
    rasterio = pytest.importorskip('rasterio')
    path = tmp_path / 'o.tif'
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(path, 'w', driver='GTiff', height=600, width=600, count=3, dtype='uint8') as file:
            file.write(np.full((3, 600, 600), 9, np.uint8))
            file.write_mask(np.ones((600, 600), bool))
        with rasterio.open(path, 'r+') as file:
            file.build_overviews([2, 4])
    assert load_image(path).notes == ()


def test_what_is_no_file_is_told_at_once(tmp_path):
    os.mkfifo(tmp_path / 'pipe.png')
    for path, what in (
        (tmp_path / 'pipe.png', 'a named pipe'),
        ('/dev/zero', 'a device'),
        (tmp_path, 'a folder'),
        ('a\0.png', 'no name of a file'),
    ):
        for read in (lambda path: read_image(path, 'RGB'), image_size):
            with pytest.raises(DataError, match=rf'is {what}'):
                read(path)


def test_formats_that_do_more_than_hold_pixels_are_refused(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n')
    with pytest.raises(DataError, match=r'a\.jpg is not an image'):
        read_image(tmp_path / 'a.jpg', 'RGB')


def test_folders_and_patterns(tmp_path):
    for folder in ('[2024] a*b', 'plain', 'v1'):
        (tmp_path / folder).mkdir()
        for name in ('x.png', '._x.png', 'y.JPG', 'notes.txt', '[z].png'):
            (tmp_path / folder / name).touch()
    for folder in ('[2024] a*b', 'plain'):
        at = tmp_path / folder
        assert list_images(at) == [f'{at}/{name}' for name in ('[z].png', 'x.png', 'y.JPG')]
        assert list_images(f'{at}/*.png') == [f'{at}/[z].png', f'{at}/x.png']
        assert list_images(f'{at}/**/*.png') == [f'{at}/[z].png', f'{at}/x.png']
        assert list_images(f'{at}/[z].png') == [f'{at}/[z].png']
        assert list_images(f'{at}/._*.png' if folder == 'v1' else f'{at}/[xy].*') == [f'{at}/x.png', f'{at}/y.JPG']
    assert list_images(f'{tmp_path}/v[0-9]/x.png') == [f'{tmp_path}/v1/x.png']
