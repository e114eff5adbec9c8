"""Each transform against torchvision or a mask drawn here."""

import numpy as np
import pytest
import torch
import torchvision.transforms as tv
from PIL import Image

from rs2sam2.datasets.transforms import (
    LoadReferringMask,
    LoadRGBImage,
    PackRefSegInputs,
    RandomBlackBoxes,
    ResizeTwoViews,
    TokenizeExpression,
)
from rs2sam2.errors import ConfigError, DataError, TokenizerError
from rs2sam2.structures import ReferringSample, RefSegDataSample

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def noise(height, width, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, channels), dtype=np.uint8)
    image = np.repeat(np.repeat(coarse, 8, 0), 8, 1)[:height, :width].astype(int)
    return np.clip(image + rng.integers(-20, 20, image.shape), 0, 255).astype(np.uint8)


def write(path, mode):
    image = Image.fromarray(noise(157, 211))
    if mode == 'RGBA':
        image.putalpha(Image.fromarray(noise(157, 211, 1, seed=5)[..., 0]))
    elif mode == 'P':
        image = image.quantize(17)
    else:
        image = image.convert(mode)
    image.save(path)
    return path


@pytest.mark.parametrize(
    ('name', 'mode'),
    [
        ('a.jpg', 'RGB'),
        ('a.png', 'RGB'),
        ('a.tif', 'RGB'),
        ('a.png', 'P'),
        ('a.png', 'L'),
        ('a.png', '1'),
        ('a.tif', 'L'),
        ('a.png', 'RGBA'),
        ('a.jpg', 'CMYK'),
    ],
)
@pytest.mark.parametrize(('size', 'union_size'), [(256, 48), (97, 33)])
def test_views_are_torchvisions(tmp_path, name, mode, size, union_size):
    path = write(tmp_path / name, mode)
    results = ResizeTwoViews(size, union_size)(LoadRGBImage()(dict(img_path=str(path))))
    assert results['ori_shape'] == (157, 211)
    original = Image.open(path).convert('RGB')
    for key, side in (('img', size), ('union_img', union_size)):
        expected = tv.Compose([tv.Resize((side, side)), tv.ToTensor(), tv.Normalize(MEAN, STD)])(original)
        view = torch.from_numpy(results[key]).permute(2, 0, 1).float() / 255
        view = (view - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        torch.testing.assert_close(view, expected, atol=1e-6, rtol=0)
        np.testing.assert_array_equal(results[key], np.array(tv.Resize((side, side))(original)))


def test_alpha_is_dropped_not_blended(tmp_path):
    pixels = noise(20, 30, 4)
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    np.testing.assert_array_equal(LoadRGBImage()(dict(img_path=tmp_path / 'a.png'))['img'], pixels[..., :3])


def test_mask_has_its_own_size():
    """An image of 801x800 with a mask of 800x800, each resized from its own size."""
    mask = (noise(80, 90, 1)[..., 0] > 128).astype(np.uint8)
    results = dict(img=noise(81, 90), gt_seg_map=mask.copy())
    resized = ResizeTwoViews(64, 16)(dict(results))
    rows, columns = ((np.arange(64) + 0.5) * 80 / 64).astype(int), ((np.arange(64) + 0.5) * 90 / 64).astype(int)
    np.testing.assert_array_equal(resized['gt_seg_map'], mask[rows][:, columns])
    np.testing.assert_array_equal(
        resized['gt_seg_map'], np.array(tv.Resize((64, 64), tv.InterpolationMode.NEAREST)(Image.fromarray(mask)))
    )
    np.testing.assert_array_equal(ResizeTwoViews(64, 16, resize_mask=False)(results)['gt_seg_map'], mask)


@pytest.mark.parametrize('name', ['cut.jpg', 'cut.png', 'cut.tif'])
@pytest.mark.parametrize('share', [0.02, 0.5, 0.95])
def test_a_truncated_image_is_named(tmp_path, name, share):
    path = tmp_path / name
    Image.fromarray(noise(157, 211)).save(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=name) as caught:
        LoadRGBImage()(dict(img_path=str(path)))
    assert '\n' not in str(caught.value)


def test_unusable_images_are_named(tmp_path):
    load = LoadRGBImage()
    with pytest.raises(DataError, match=r'gone\.jpg is missing'):
        load(dict(img_path=tmp_path / 'gone.jpg'))
    (tmp_path / 'text.jpg').write_text('hello')
    with pytest.raises(DataError, match=r'text\.jpg is not an image'):
        load(dict(img_path=tmp_path / 'text.jpg'))
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(tmp_path / 'deep.tif')
    with pytest.raises(DataError, match=r'deep\.tif has 16 bits a channel.*8 bits'):
        load(dict(img_path=tmp_path / 'deep.tif'))
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / 'float.tif')
    with pytest.raises(DataError, match=r'float\.tif has 32 bits a channel'):
        load(dict(img_path=tmp_path / 'float.tif'))
    # One flipped byte in the middle of a PNG: its checksum tells.
    Image.fromarray(noise(157, 211)).save(tmp_path / 'flip.png')
    data = bytearray((tmp_path / 'flip.png').read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / 'flip.png').write_bytes(data)
    with pytest.raises(DataError, match=r'flip\.png cannot be decoded'):
        load(dict(img_path=tmp_path / 'flip.png'))


def test_mask_of_a_grey_picture(tmp_path):
    grey = np.array([[0, 50, 51], [255, 49, 200]], np.uint8)
    expected = [[0, 0, 1], [1, 0, 1]]
    for name, picture in (('l.tif', grey), ('rgb.tif', np.stack([grey] * 3, -1))):
        Image.fromarray(picture).save(tmp_path / name)
        results = LoadReferringMask()(dict(sample_id='1', seg_map_path=str(tmp_path / name), seg_threshold=50))
        np.testing.assert_array_equal(results['gt_seg_map'], expected)
        assert results['gt_seg_map'].dtype == np.uint8


def test_mask_size_of_polygons():
    square = [[1, 1, 3, 1, 3, 4, 1, 4]]
    fields = dict(sample_id='7', segmentation=square, ori_shape=(6, 8))
    assert LoadReferringMask()(dict(fields, mask_size=None))['gt_seg_map'].shape == (6, 8)
    assert LoadReferringMask()(dict(fields, mask_size=(5, 5)))['gt_seg_map'].shape == (5, 5)
    with pytest.raises(DataError, match='sample 7'):
        LoadReferringMask()(dict(fields, segmentation=[[1, 1]]))


def boxed(boxes, sample_id, height=400, width=500):
    return boxes(dict(sample_id=sample_id, img=np.full((height, width, 3), 255, np.uint8)))['img']


def test_the_same_share_of_samples_always_gets_boxes():
    boxes = RandomBlackBoxes(share=0.2, size=3)
    np.random.seed(0)  # noqa: NPY002
    first = [bool((boxed(boxes, str(i), 20, 20) == 0).any()) for i in range(1000)]
    np.random.seed(1)  # noqa: NPY002
    assert first == [bool((boxed(boxes, str(i), 20, 20) == 0).any()) for i in range(1000)]
    assert 0.16 < np.mean(first) < 0.24
    other = RandomBlackBoxes(share=0.2, size=3, seed=1)
    assert first != [bool((boxed(other, str(i), 20, 20) == 0).any()) for i in range(1000)]
    assert not any((boxed(RandomBlackBoxes(share=0.0), str(i)) == 0).any() for i in range(20))


def test_boxes_are_drawn_anew_in_number_and_place():
    np.random.seed(0)  # noqa: NPY002
    boxes = RandomBlackBoxes(share=1.0, count=(20, 60), size=1)
    images = [boxed(boxes, '5', 1000, 1000) for _ in range(20)]
    numbers = [int((image == 0).all(-1).sum()) for image in images]
    # At 1 pixel a box on a million, two hardly ever meet.
    assert min(numbers) >= 20
    assert max(numbers) <= 60
    assert len(set(numbers)) > 10


def test_boxes_are_whole_squares_and_spare_the_mask():
    boxes = RandomBlackBoxes(share=1.0, count=(1, 1), size=32)
    for _ in range(20):
        mask = np.ones((64, 50), np.uint8)
        results = boxes(dict(sample_id='1', img=np.full((64, 50, 3), 255, np.uint8), gt_seg_map=mask))
        assert (results['img'] == 0).sum() == 3 * 32 * 32
        assert results['gt_seg_map'].all()
    assert (boxed(boxes, '1', 20, 10) == 0).all()


def test_box_arguments_are_checked():
    for bad in (dict(share=1.5), dict(count=(5, 2)), dict(size=0)):
        with pytest.raises(ConfigError, match='RandomBlackBoxes'):
            RandomBlackBoxes(**bad)


def letters(text):
    if not text.strip():
        raise TokenizerError('the expression is empty')
    return [0, *(ord(letter) for letter in text), 2]


def test_only_max_length_cuts():
    text = 'a' * 600
    whole = TokenizeExpression(letters)(dict(expression=text))['token_ids']
    assert whole.dtype == np.int64
    assert whole.tolist() == [0, *[97] * 600, 2]
    cut = TokenizeExpression(letters, max_length=512)(dict(expression=text))['token_ids']
    assert cut.tolist() == [0, *[97] * 510, 2]
    assert TokenizeExpression(letters, max_length=602)(dict(expression=text))['token_ids'].tolist() == whole.tolist()
    with pytest.raises(TokenizerError, match='sample 9: the expression is empty'):
        TokenizeExpression(letters)(dict(expression=' ', sample_id='9'))
    with pytest.raises(ConfigError, match='max_length=2'):
        TokenizeExpression(letters, max_length=2)


def test_pack():
    results = dict(
        sample_id='3',
        img_path='a.jpg',
        expression='the ship',
        category='ship',
        no_target=False,
        ori_shape=(9, 7),
        img=noise(32, 32),
        union_img=noise(8, 8),
        token_ids=np.array([0, 5, 2]),
        gt_seg_map=np.eye(9, 7, dtype=np.uint8),
    )
    packed = PackRefSegInputs()(dict(results))
    inputs, sample = packed['inputs'], packed['data_samples']
    assert isinstance(inputs, ReferringSample)
    assert isinstance(sample, RefSegDataSample)
    np.testing.assert_array_equal(inputs.image.numpy(), results['img'].transpose(2, 0, 1))
    np.testing.assert_array_equal(inputs.union_image.numpy(), results['union_img'].transpose(2, 0, 1))
    assert inputs.image.dtype == inputs.union_image.dtype == torch.uint8
    assert inputs.token_ids.tolist() == [0, 5, 2]
    assert sample.gt_sem_seg.data.shape == (1, 9, 7)
    assert sample.gt_sem_seg.data.dtype == torch.uint8
    expected = {key: results[key] for key in ('sample_id', 'img_path', 'expression', 'category', 'ori_shape')}
    assert sample.metainfo == dict(expected, no_target=False)
    del results['gt_seg_map']
    assert 'gt_sem_seg' not in PackRefSegInputs()(results)['data_samples']
