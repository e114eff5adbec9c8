"""The Python API: results, pairing, refining, models from work dirs, bad input."""

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmseg.registry import MODELS, TRANSFORMS
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from pycocotools import mask as coco_mask

from helpers.work_dirs import make_image, make_work_dir
from rs2sam2 import RS2SAM2Inferencer
from rs2sam2.errors import CheckpointError, ConfigError, DataError, RefSegError, TokenizerError
from rs2sam2.inference import InferencerWindowPredictor
from rs2sam2.inference import inferencer as inferencer_module
from rs2sam2.inference.images import load_image
from rs2sam2.inference.points import point_prompts

EXPRESSIONS = ['the red ship', 'ship', 'the harbor on the left in the middle']


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory) -> Path:
    return make_work_dir(tmp_path_factory.mktemp('model') / 'run')


@pytest.fixture(scope='module')
def inferencer(work_dir):
    return RS2SAM2Inferencer(work_dir)


@pytest.fixture(scope='module')
def refinable(tmp_path_factory):
    return RS2SAM2Inferencer(make_work_dir(tmp_path_factory.mktemp('refinable') / 'run', point_prompts=True))


@pytest.fixture(scope='module')
def image(tmp_path_factory) -> Path:
    return make_image(tmp_path_factory.mktemp('images') / 'a.png')


def assert_same(one, other):
    assert (one.image, one.expression) == (other.image, other.expression)
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)
    assert (one.mask != other.mask).mean() < 0.01


def test_result_is_what_the_test_pipeline_and_the_model_give(inferencer, image):
    cfg = inferencer.cfg
    pipeline = [step for step in cfg.test_dataloader.dataset.pipeline if step.type != 'LoadReferringMask']
    pipeline = Compose([TRANSFORMS.build(step) for step in pipeline])
    model = MODELS.build(cfg.model).eval()
    model.load_state_dict(torch.load(inferencer.source.weights)['state_dict'])
    sample = dict(sample_id='0', img_path=str(image), expression=EXPRESSIONS[0])
    with torch.no_grad():
        expected = model.test_step(pseudo_collate([pipeline(sample)]))[0]
    result = inferencer(image, EXPRESSIONS[0])[0]
    torch.testing.assert_close(torch.from_numpy(result.logits), expected.seg_logits.data[0])
    np.testing.assert_array_equal(result.mask, expected.pred_sem_seg.data[0].bool().numpy())
    np.testing.assert_array_equal(result.mask, result.probability > 0.5)
    assert result.size == (30, 40)
    assert 0 < result.area == result.mask.sum() < 1200


def test_result_describes_its_mask(inferencer, image):
    result = inferencer(image, EXPRESSIONS[0])[0]
    np.testing.assert_array_equal(coco_mask.decode(result.rle), result.mask)
    row = result.to_dict()
    assert row['bbox'] == coco_mask.toBbox(result.rle).tolist()
    assert row['area'] == coco_mask.area(result.rle)
    x0, y0, x1, y1 = result.box
    assert result.mask[y0:y1, x0:x1].sum() == result.area
    foreground = 1 / (1 + np.exp(-result.logits[result.logits > 0].astype(float)))
    assert (result.presence, result.predicted_iou) == (None, None)
    assert result.score_kind == 'mean foreground probability'
    assert result.score == pytest.approx(foreground.mean(), abs=1e-6)


@pytest.mark.parametrize('batch_size', [2, 3, 8])
def test_batches_of_mixed_lengths_agree_with_one_by_one(inferencer, image, batch_size):
    alone = [inferencer(image, text)[0] for text in EXPRESSIONS]
    for one, other in zip(alone, inferencer(image, EXPRESSIONS, batch_size=batch_size), strict=True):
        assert_same(one, other)


def test_sources_of_one_image_agree(inferencer, image, tmp_path):
    pixels = np.asarray(Image.open(image))
    expected = inferencer(image, 'ship')[0]
    shutil.copy(image, tmp_path / 'b.png')
    (tmp_path / 'notes.txt').write_text('no image')
    for source in (str(image), pixels, Image.open(image), tmp_path, f'{tmp_path}/*.png'):
        results = inferencer(source, 'ship')
        assert len(results) == 1
        np.testing.assert_array_equal(results[0].mask, expected.mask)


def test_pairing(inferencer, tmp_path):
    a, b = make_image(tmp_path / 'a.png', seed=1), make_image(tmp_path / 'b.png', (50, 20), seed=2)

    def names(*args, **kwargs):
        results = inferencer(*args, batch_size=4, **kwargs)
        assert all(result.size == ((30, 40) if result.image == str(a) else (20, 50)) for result in results)
        return [(Path(result.image).stem, result.expression) for result in results]

    assert names(a, ['ship', 'harbor']) == [('a', 'ship'), ('a', 'harbor')]
    assert names([a, b], 'ship') == [('a', 'ship'), ('b', 'ship')]
    assert names([a, b], ['ship', 'harbor']) == [('a', 'ship'), ('b', 'harbor')]
    everything = [('a', 'ship'), ('a', 'harbor'), ('b', 'ship'), ('b', 'harbor')]
    assert names(tmp_path, ['ship', 'harbor']) == everything
    assert names(pairs=[(b, 'ship'), (a, 'ship')]) == [('b', 'ship'), ('a', 'ship')]
    with pytest.raises(DataError, match='2 images and 3 expressions are no pairs'):
        inferencer([a, b], EXPRESSIONS)
    with pytest.raises(DataError, match='give images and expressions, or pairs='):
        inferencer(a)


def test_an_image_is_read_once_for_its_expressions(inferencer, image, monkeypatch):
    reads = []
    monkeypatch.setattr(inferencer_module, 'load_image', lambda *args: reads.append(args) or load_image(*args))
    inferencer(image, EXPRESSIONS)
    assert len(reads) == 1


def test_below_min_score_the_mask_is_empty_and_says_so(inferencer, image):
    full = inferencer(image, 'ship')[0]
    kept = inferencer(image, 'ship', min_score=full.score)[0]
    emptied = inferencer(image, 'ship', min_score=full.score + 1e-3)[0]
    assert not kept.empty
    assert kept.area == full.area
    assert emptied.empty
    assert emptied.area == 0
    assert emptied.box is None
    assert 'is below' in emptied.reason
    assert 'mean foreground probability' in emptied.reason
    np.testing.assert_array_equal(emptied.probability, full.probability)


def test_scores_are_reported_when_they_were_trained(work_dir, image):
    trained = RS2SAM2Inferencer(work_dir)
    trained.model.decode_head.presence_steps += 1
    trained.model.decode_head.iou_steps += 1
    result = trained(image, 'ship')[0]
    assert result.score == result.presence
    assert result.score_kind == 'presence'
    assert 0 <= result.predicted_iou <= 1
    predictor = InferencerWindowPredictor(trained)
    predictor.predict([load_image(image).pixels], 'ship')
    assert predictor.scores == [pytest.approx(result.presence, abs=1e-5)]


# Refining by points


def test_an_expression_that_loses_its_end_is_said_to(inferencer, image, monkeypatch):
    """LAVT and RMSIN read 20 tokens; what an expression says after them counts for nothing."""
    short, long = 'the ship', 'the ship on the left of the bridge'
    step = inferencer.pipeline.expression.transforms[0]
    length = len(step.tokenizer(long))
    assert inferencer(image, long)[0].notes == ()
    monkeypatch.setattr(step, 'max_length', length - 1)
    for result, notes in zip(inferencer(image, [short, long]), (0, 1), strict=True):
        assert len(result.notes) == len(result.to_dict()['notes']) == notes
    expected = f'the model reads {length - 1} of its {length} tokens: the end of the expression does not count'
    assert result.notes == inferencer.expression_notes(long) == (expected,)


def test_points_are_scaled_to_the_view_as_sam2_does():
    from sam2.utils.transforms import SAM2Transforms

    prompts = point_prompts((10, 5, 30, 20), [(8, 9), (3, 4, 0)], (30, 40), (64, 64))
    transforms = SAM2Transforms(resolution=64, mask_threshold=0)
    clicks = transforms.transform_coords(torch.tensor([[8.0, 9], [3, 4]]), normalize=True, orig_hw=(30, 40))
    box = transforms.transform_boxes(torch.tensor([10.0, 5, 30, 20]), normalize=True, orig_hw=(30, 40))
    torch.testing.assert_close(prompts.coords[0], torch.cat([box.reshape(2, 2), clicks]))
    assert prompts.labels.tolist() == [[2, 3, 1, 0]]
    assert point_prompts(None, None, (30, 40), (64, 64)) is None


def test_points_reach_the_decoder_beside_the_text(refinable, image, monkeypatch):
    head = refinable.model.decode_head
    seen = []
    decoder = head.mask_decoder.predict_masks
    monkeypatch.setattr(
        head.mask_decoder,
        'predict_masks',
        lambda **kwargs: seen.append(kwargs['sparse_prompt_embeddings']) or decoder(**kwargs),
    )
    refinable(image, 'ship')
    refinable(image, 'ship', box=(10, 5, 30, 20), point=(8, 9))
    text, refined = seen
    torch.testing.assert_close(refined[:, : text.shape[1]], text)
    # From SAM2's parts: position code of the pixel's centre + the label's embedding, then one that is no point.
    coords = torch.tensor([[[10 * 1.6, 5 * 64 / 30], [30 * 1.6, 20 * 64 / 30], [8 * 1.6, 9 * 64 / 30]]]) + 0.5
    encoder = head.prompt_encoder
    expected = encoder.pe_layer.forward_with_coords(coords, (64, 64))[0]
    expected = expected + torch.stack([encoder.point_embeddings[label].weight[0] for label in (2, 3, 1)])
    expected = torch.cat([expected, encoder.not_a_point_embed.weight])
    torch.testing.assert_close(refined[0, text.shape[1] :], expected)


def test_points_change_the_mask_and_batches_agree(refinable, image):
    plain = refinable(image, EXPRESSIONS)
    alone = [refinable(image, text, point=(8, 9))[0] for text in EXPRESSIONS]
    together = refinable(image, EXPRESSIONS, point=(8, 9), batch_size=3)
    for text_only, one, other in zip(plain, alone, together, strict=True):
        assert_same(one, other)
        assert np.abs(text_only.logits - one.logits).max() > 1e-3
    beside = refinable(image, 'ship', point=[(8, 9, 0)])[0]
    on = refinable(image, 'ship', point=[(8, 9, 1)])[0]
    assert np.abs(beside.logits - on.logits).max() > 1e-3


@pytest.mark.parametrize(
    ('prompt', 'match'),
    [
        (dict(box=(10, 5, 8, 20)), 'box=.*inside the image of 40x30'),
        (dict(box=(0, 0, 41, 30)), 'box='),
        (dict(point=(40, 3)), 'point=.*inside the image of 40x30'),
        (dict(point=(3, 4, 2)), 'point='),
        (dict(box=(float('nan'), 0, 4, 4)), 'box='),
    ],
)
def test_wrong_points_are_refused(refinable, image, prompt, match):
    with pytest.raises(DataError, match=match):
        refinable(image, 'ship', **prompt)


def test_points_belong_to_one_image_and_to_models_that_know_them(inferencer, refinable, image, tmp_path):
    with pytest.raises(DataError, match='belong to one image'):
        refinable([image, make_image(tmp_path / 'b.png')], 'ship', point=(1, 1))
    with pytest.raises(ConfigError, match='cannot be refined by a point or a box'):
        inferencer(image, 'ship', point=(1, 1))


# Windows for scenes


def test_windows(inferencer, image):
    pixels = np.asarray(Image.open(image))
    windows = [pixels, pixels[::-1], pixels[:, ::-1]]
    predictor = InferencerWindowPredictor(inferencer)
    logits = predictor.predict(windows, 'ship')
    assert (logits.shape, logits.dtype) == ((3, 30, 40), np.float32)
    for window, one in zip(windows, logits, strict=True):
        result = inferencer(np.ascontiguousarray(window), 'ship')[0]
        np.testing.assert_allclose(1 / (1 + np.exp(-one)), result.probability, atol=1e-4)
    assert predictor.scores == [None] * 3


# Models


def test_config_with_checkpoint_is_the_work_dir(work_dir, inferencer, image):
    other = RS2SAM2Inferencer(work_dir / 'tiny.py', work_dir / 'best_rrsis_mIoU_epoch_1.pth', device='cpu')
    assert_same(other(image, 'ship')[0], inferencer(image, 'ship')[0])


def test_moved_work_dir_without_best_takes_the_last_checkpoint(work_dir, tmp_path):
    moved = shutil.copytree(work_dir, tmp_path / 'moved')
    (moved / 'best_rrsis_mIoU_epoch_1.pth').rename(moved / 'epoch_3.pth')
    (moved / 'last_checkpoint').write_text('/gone/run/epoch_3.pth')
    assert RS2SAM2Inferencer(moved).source.weights == moved / 'epoch_3.pth'


def break_work_dir(folder: Path, how: str) -> None:
    best = folder / 'best_rrsis_mIoU_epoch_1.pth'
    if how == 'no config':
        (folder / 'tiny.py').unlink()
    elif how == 'two configs':
        shutil.copy(folder / 'tiny.py', folder / 'other.py')
    elif how == 'no checkpoint':
        best.unlink()
    elif how == 'two best':
        shutil.copy(best, folder / 'best_rrsis_oIoU_epoch_1.pth')
    elif how == 'no tokenizer':
        shutil.rmtree(folder / 'tokenizer')
    elif how == 'no python':
        (folder / 'tiny.py').write_text('model = dict(')
    elif how == 'foreign names':
        torch.save({'state_dict': {'conv.weight': torch.zeros(3)}}, best)
    elif how == 'entry missing':
        state = torch.load(best)['state_dict']
        state.pop('text_proj.bias')
        torch.save({'state_dict': state}, best)


@pytest.mark.parametrize(
    ('how', 'kind', 'match'),
    [
        ('no config', ConfigError, 'holds no config'),
        ('two configs', ConfigError, 'holds several configs .other.py, tiny.py.'),
        ('no python', ConfigError, r'tiny\.py:1 is no Python: .* was never closed'),
        ('no checkpoint', CheckpointError, 'neither best_.* nor last_checkpoint'),
        ('two best', CheckpointError, 'several best checkpoints'),
        ('no tokenizer', TokenizerError, 'tokenizer data/nowhere/tokenizer .* is missing'),
        ('foreign names', CheckpointError, 'conv.weight'),
        ('entry missing', CheckpointError, 'text_proj.bias'),
    ],
)
def test_unusable_models_are_refused_in_one_line(work_dir, tmp_path, how, kind, match):
    broken = shutil.copytree(work_dir, tmp_path / 'broken')
    break_work_dir(broken, how)
    with pytest.raises(kind, match=match) as error:
        RS2SAM2Inferencer(broken)
    assert '\n' not in str(error.value)


def test_config_without_weights_and_unknown_paths_are_refused(work_dir, tmp_path):
    with pytest.raises(CheckpointError, match='name a checkpoint'):
        RS2SAM2Inferencer(work_dir / 'tiny.py')
    with pytest.raises(ConfigError, match='neither a config'):
        RS2SAM2Inferencer(tmp_path / 'nothing')
    with pytest.raises(ConfigError, match='a checkpoint goes to weights'):
        RS2SAM2Inferencer(work_dir / 'best_rrsis_mIoU_epoch_1.pth')
    for name in ('x' * 5000, f'{"x" * 5000}.py'):
        with pytest.raises(ConfigError, match='neither a config'):
            RS2SAM2Inferencer(name)
        with pytest.raises(CheckpointError, match='does not exist'):
            RS2SAM2Inferencer(work_dir, name)
    for device in ('toaster', 'meta'):
        with pytest.raises(ConfigError, match='device='):
            RS2SAM2Inferencer(work_dir, device=device)


def test_the_embedded_bundle_with_other_weights(work_dir, tmp_path):
    embedded = RS2SAM2Inferencer('demo')
    other = shutil.copy(embedded.source.weights, tmp_path / 'other.safetensors')
    assert RS2SAM2Inferencer('demo', other).source.weights == tmp_path / 'other.safetensors'
    with pytest.raises(CheckpointError, match='does not fit this model'):
        RS2SAM2Inferencer('demo', next(work_dir.glob('*.pth')))


# Bad input


@pytest.mark.parametrize('mode', ['1', 'P', 'L', 'LA', 'RGBA', 'CMYK'])
def test_other_picture_modes_work(inferencer, image, tmp_path, mode):
    picture = Image.open(image)
    path = tmp_path / ('a.tif' if mode == 'CMYK' else 'a.png')
    if mode == 'LA':
        picture = picture.convert('L')
    picture.convert(mode).save(path)
    assert inferencer(path, 'ship')[0].size == (30, 40)


def test_animation_gives_its_first_frame_and_says_so(inferencer, tmp_path):
    frames = [Image.open(make_image(tmp_path / f'{seed}.png', seed=seed)) for seed in range(3)]
    frames[0].save(tmp_path / 'a.webp', save_all=True, append_images=frames[1:], lossless=True)
    result = inferencer(tmp_path / 'a.webp', 'ship')[0]
    assert result.notes == ('the first of 3 frames was taken',)
    np.testing.assert_array_equal(result.mask, inferencer(tmp_path / '0.png', 'ship')[0].mask)


def test_a_gif_of_countless_frames_is_not_looked_through(inferencer, tmp_path, monkeypatch):
    head = b'GIF89a' + struct.pack('<HHBBB', 1, 1, 0x80, 0, 0) + bytes(6)
    frame = b'\x21\xf9\x04\0\0\0\0\0,' + struct.pack('<HHHHB', 0, 0, 1, 1, 0) + b'\x02\x02D\x01\0'
    monkeypatch.setattr(GifImageFile, 'n_frames', property(lambda self: pytest.fail('all were looked at')))
    for count, told in (
        (1, ()),
        (3, ('the first of 3 frames was taken',)),
        (1000, ('the first of 100 frames was taken',)),
    ):
        (tmp_path / 'a.gif').write_bytes(head + count * frame + b';')
        assert inferencer(tmp_path / 'a.gif', 'ship')[0].notes == told
    (tmp_path / 'a.gif').write_bytes(head + 3 * frame[:-2])
    assert inferencer(tmp_path / 'a.gif', 'ship')[0].mask.shape == (1, 1)


def bad_image(folder: Path, how: str) -> Path | np.ndarray:
    path = folder / 'bad.png'
    if how == 'empty':
        path.touch()
    elif how == 'text':
        path.write_text('no image at all')
    elif how == 'truncated':
        path.write_bytes(make_image(folder / 'good.png', (200, 200)).read_bytes()[:500])
    elif how == '16 bit':
        Image.fromarray(np.zeros((9, 9), np.uint16)).save(path)
    elif how == 'huge':
        # 90 million pixels of one value: a file of some kB.
        Image.new('1', (60_000, 1_500)).save(path)
    elif how == 'float array':
        return np.zeros((9, 9, 3))
    elif how == 'bands':
        return np.zeros((9, 9, 5), np.uint8)
    elif how == 'no pixels':
        return np.zeros((0, 9, 3), np.uint8)
    return path


@pytest.mark.parametrize(
    ('how', 'match'),
    [
        ('missing', 'bad.png is missing'),
        ('empty', r'bad.png is empty \(0 bytes\)'),
        ('text', 'bad.png is not an image'),
        ('truncated', 'bad.png cannot be decoded'),
        ('16 bit', 'bad.png has 16 bits a channel'),
        ('huge', 'bad.png has more than 89,478,485 pixels: .* rs2sam2 scene'),
        ('float array', 'array 9x9x3 float64'),
        ('bands', 'array 9x9x5 uint8'),
        ('no pixels', 'array 0x9x3'),
    ],
)
def test_bad_images_are_refused_in_one_line(inferencer, tmp_path, how, match, recwarn):
    with pytest.raises(DataError, match=match) as error:
        inferencer(bad_image(tmp_path, how), 'ship')
    assert '\n' not in str(error.value)
    assert not [one for one in recwarn if issubclass(one.category, Image.DecompressionBombWarning)]


def test_an_image_of_60000_pixels_width_works(inferencer, tmp_path):
    path = make_image(tmp_path / 'wide.png', (60_000, 20))
    assert inferencer(path, 'ship')[0].size == (20, 60_000)


@pytest.mark.parametrize('text', ['', '   ', 'ship ' * 10_000])
def test_bad_expressions_are_refused_in_one_line(inferencer, image, text):
    with pytest.raises(TokenizerError) as error:
        inferencer(image, ['ship', text])
    assert '\n' not in str(error.value)
    assert len(str(error.value)) < 300


def test_text_in_other_scripts_works(inferencer, image):
    assert inferencer(image, '红色的船 🚢 السفينة')[0].size == (30, 40)


def test_folder_and_pattern_without_images_are_refused(inferencer, tmp_path):
    for source in (tmp_path, f'{tmp_path}/*.jpg'):
        with pytest.raises(RefSegError):
            inferencer(source, 'ship')


@pytest.mark.parametrize('where', ['seg_logits', 'presence', 'pred_iou'])
@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf')])
def test_what_is_no_number_is_no_empty_mask(inferencer, image, monkeypatch, where, value):
    """NaN is below every threshold, so it would look like a target that is not there."""
    predict = inferencer.model.predict

    def broken(*args, **kwargs):
        samples = predict(*args, **kwargs)
        if where == 'seg_logits':
            samples[0].seg_logits.data[0, 1, 1] = value
        else:
            samples[0].set_metainfo({where: value}) if where in samples[0].metainfo_keys() else samples[0].set_field(
                value, where
            )
        return samples

    monkeypatch.setattr(inferencer.model, 'predict', broken)
    with pytest.raises(CheckpointError, match='the model returned NaN or infinity; check its weights') as caught:
        inferencer(image, 'ship')
    assert '\n' not in str(caught.value)
