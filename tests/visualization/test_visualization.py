"""Pictures: sizes, colours at known pixels, names, and the hooks under MMEngine's Runner."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import PixelData
from PIL import Image
from torch.utils.data import Dataset

from rs2sam2.errors import ConfigError, DataError
from rs2sam2.evaluation.rrsis_metric import RRSISMetric
from rs2sam2.structures import RefSegDataSample
from rs2sam2.visualization import text as fonts_of
from rs2sam2.visualization.curves import CurvesHook, draw_curves, read_scalars
from rs2sam2.visualization.figure import (
    GAP,
    MARGIN,
    PANEL,
    build_panels,
    contact_sheet,
    draw_figure,
    mask_iou,
)
from rs2sam2.visualization.hook import RefSegVisualizationHook, picture_name
from rs2sam2.visualization.overlay import FALSE, HIT, MISSED, TINT, draw_heat, draw_regions, heat_bar
from rs2sam2.visualization.text import ELLIPSIS, font, wrap
from rs2sam2.visualization.visualizer import RefSegVisualizer

GROUND = (100, 120, 80)


def tinted(colour):
    return tuple(round((1 - TINT) * g + TINT * c) for g, c in zip(GROUND, colour, strict=True))


def near(pixel, colour, tolerance=2):
    return max(abs(int(a) - b) for a, b in zip(pixel, colour, strict=True)) <= tolerance


def masks():
    """Truth: the left half. Prediction: the upper half."""
    truth, prediction = np.zeros((80, 80), bool), np.zeros((80, 80), bool)
    truth[:, :40] = True
    prediction[:40] = True
    return truth, prediction


def test_colours_of_the_prediction_panel():
    truth, prediction = masks()
    image = Image.new('RGB', (80, 80), GROUND)
    panel = build_panels(image, truth, None, prediction, pred_iou=0.5)[-1]
    assert panel.image.size == (PANEL, PANEL)
    assert panel.caption == 'prediction  IoU 0.33'
    assert panel.note == 'estimated 0.50'
    quarter, rest = PANEL // 4, 3 * PANEL // 4
    assert near(panel.image.getpixel((quarter, quarter)), tinted(HIT))
    assert near(panel.image.getpixel((rest, quarter)), tinted(FALSE))
    assert near(panel.image.getpixel((quarter, rest)), tinted(MISSED))
    assert near(panel.image.getpixel((rest, rest)), GROUND)
    # Outlines are the full colour, at the border of the region.
    assert near(panel.image.getpixel((PANEL // 2 - 1, quarter)), HIT)
    assert near(panel.image.getpixel((0, rest)), MISSED)


def test_a_single_pixel_stays_visible():
    mask = np.zeros((4000, 4000), bool)
    mask[1000, 3000] = True
    image = Image.new('RGB', (90, 90), GROUND)
    drawn = np.asarray(draw_regions(image, [(mask, HIT)])).astype(int)
    y, x = np.unravel_index(np.abs(drawn - GROUND).sum(-1).argmax(), (90, 90))
    assert abs(y - 22) <= 1
    assert abs(x - 67) <= 1


def test_heat_shows_where_and_how_much():
    image = Image.new('RGB', (140, 140), (128, 128, 128))
    values = np.zeros((14, 14))
    values[3, 10] = 1
    heat = np.asarray(draw_heat(image, values)).sum(-1)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert abs(y - 35) <= 3
    assert abs(x - 105) <= 3
    # The colours do not stretch to the values at hand.
    faint = np.asarray(draw_heat(image, values * 0.1)).sum(-1)
    assert faint.max() < 0.6 * heat.max()
    assert heat_bar(30, 5).size == (30, 5)


def test_panels_are_left_out_and_sizes_are_kept():
    image = Image.new('RGB', (800, 500), GROUND)
    truth, prediction = masks()
    assert [p.caption for p in build_panels(image)] == ['image']
    panels = build_panels(image, truth, np.full((14, 14), 0.5), prediction)
    assert [p.caption for p in panels] == ['image', 'ground truth', 'pseudo-mask', 'prediction  IoU 0.33']
    assert {p.image.size for p in panels} == {(PANEL, 225)}
    assert draw_figure(panels, 'A ship').width == 4 * PANEL + 3 * GAP + 2 * MARGIN
    assert build_panels(image, np.zeros((5, 8), bool))[1].note == 'empty'
    assert build_panels(image, None, None, prediction)[1].caption == 'prediction'
    # A long expression makes the figure higher, but not without end, and never wider.
    short, long, endless = (draw_figure(panels, text) for text in ('A ship', 'ship ' * 60, 'x' * 100_000))
    assert short.height < long.height <= endless.height < short.height + 150
    assert short.width == endless.width
    assert build_panels(Image.new('RGBA', (3, 900)))[0].image.size == (1, PANEL)


def test_iou_of_masks_of_two_sizes():
    truth, prediction = masks()
    assert mask_iou(prediction, truth) == pytest.approx(1 / 3)
    assert mask_iou(prediction.repeat(2, 0).repeat(2, 1), truth) == pytest.approx(1 / 3)
    assert mask_iou(prediction & False, truth & False) == 0.0


def test_wrap():
    face = font(20)
    text = 'The storage tank on the left of the very large brown building'
    lines = wrap(text, 200, face, 9)
    assert ' '.join(lines) == text
    assert all(face.getlength(line) <= 200 for line in lines)
    assert len(lines) > 2
    cut = wrap(text, 200, face, 2)
    assert len(cut) == 2
    assert cut[0] == lines[0]
    assert cut[1].endswith(ELLIPSIS)
    assert face.getlength(cut[1]) <= 200
    chinese = wrap('左边的红色飞机' * 9, 200, face, 50)
    assert ''.join(chinese) == '左边的红色飞机' * 9
    assert wrap('a\tb\n\u200b c\x00', 200, face, 2) == ['a b c']
    assert wrap('', 200, face, 2) == ['']


def test_contact_sheet():
    figures = [
        Image.new('RGB', size, colour) for size, colour in (((30, 10), 'red'), ((20, 20), 'lime'), ((9, 9), 'blue'))
    ]
    sheet = contact_sheet(figures, 2, gap=4)
    assert sheet.size == (54, 33)
    assert sheet.getpixel((0, 0)) == (255, 0, 0)
    assert sheet.getpixel((34, 19)) == (0, 255, 0)
    assert sheet.getpixel((0, 24)) == (0, 0, 255)
    assert sheet.getpixel((0, 15)) == (255, 255, 255)
    assert contact_sheet(figures, 9, gap=4).size == (67, 20)
    with pytest.raises(ValueError, match='contact sheet'):
        contact_sheet([], 2)


def test_picture_names():
    assert picture_name('test_00413') == 'test_00413.jpg'
    ids = ['../../etc/passwd', '.. etc passwd', 'a/b', 'a b', 'a:b', '左', '右', '', '.', 'x' * 300, 'x' * 301, 'a\0b']
    names = [picture_name(i, '.png') for i in ids]
    assert len(set(names)) == len(ids)
    for name in names:
        assert Path(name).name == name
        assert len(name) < 100
        assert name.isascii()
        assert not name.startswith('.')


def make_sample(index: int, folder: Path) -> RefSegDataSample:
    truth, prediction = masks()
    sample = RefSegDataSample()
    sample.set_metainfo(
        {
            'sample_id': f'test/{index}',
            'img_path': str(folder / f'{index}.png'),
            'expression': 'The ship on the left',
            'category': 'ship',
            'ori_shape': (80, 80),
        }
    )
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(truth[None].astype(np.uint8)))
    sample.seg_logits = PixelData(data=torch.from_numpy(prediction[None, ::4, ::4] * 2.0 - 1))
    sample.pseudo_mask = PixelData(data=torch.rand(1, 14, 14))
    sample.pred_iou, sample.presence = 0.4, None
    return sample


def test_visualizer_draws_what_a_sample_has(tmp_path):
    sample = make_sample(0, tmp_path)
    image = np.full((80, 80, 3), GROUND, np.uint8)
    full = RefSegVisualizer.draw(image, sample)
    assert full.width == 4 * PANEL + 3 * GAP + 2 * MARGIN
    without = RefSegVisualizer.draw(image, sample, draw_pred=False)
    assert without.width == 2 * PANEL + GAP + 2 * MARGIN
    sample.pseudo_mask = PixelData(data=torch.zeros(1, 14, 14))
    del sample.pseudo_mask
    assert RefSegVisualizer.draw(image, sample).width == 3 * PANEL + 2 * GAP + 2 * MARGIN
    # One channel of log-odds, two channels, and a mask are the same prediction.
    one = np.asarray(RefSegVisualizer.draw(image, sample))
    logits = sample.seg_logits.data
    sample.seg_logits = PixelData(data=torch.cat([-logits, logits]))
    assert (np.asarray(RefSegVisualizer.draw(image, sample)) == one).all()
    del sample.seg_logits
    sample.pred_sem_seg = PixelData(data=torch.from_numpy(masks()[1][None]))
    assert (np.asarray(RefSegVisualizer.draw(image, sample)) == one).all()


def test_visualizer_backends_and_files(tmp_path):
    sample = make_sample(0, tmp_path)
    image = np.full((80, 80, 3), GROUND, np.uint8)
    visualizer = RefSegVisualizer(vis_backends=[{'type': 'LocalVisBackend'}], save_dir=str(tmp_path / 'shown'))
    visualizer.add_datasample('sample', image, sample, step=7)
    assert (tmp_path / 'shown/vis_data/vis_image/sample_7.png').is_file()
    visualizer.add_datasample('sample', image, sample, out_file=str(tmp_path / 'a/b.png'))
    with Image.open(tmp_path / 'a/b.png') as picture:
        assert (np.asarray(picture) == np.asarray(RefSegVisualizer.draw(image, sample))).all()
    (tmp_path / 'file').touch()
    with pytest.raises(DataError, match='cannot be written'):
        visualizer.add_datasample('sample', image, sample, out_file=str(tmp_path / 'file/b.png'))


def fake_runner(tmp_path, visualizer):
    return SimpleNamespace(
        visualizer=visualizer, work_dir=str(tmp_path / 'work'), log_dir=str(tmp_path / 'work/now'), iter=40
    )


def test_hook_names_an_unreadable_image(tmp_path):
    hook = RefSegVisualizationHook(draw=True)
    visualizer = RefSegVisualizer(save_dir=str(tmp_path))
    (tmp_path / '0.png').write_bytes(b'no image')
    for index in (0, 1):
        with pytest.raises(DataError, match=rf'{index}\.png is (not an image|missing)'):
            hook.after_test_iter(fake_runner(tmp_path, visualizer), 0, {}, [make_sample(index, tmp_path)])
    with pytest.raises(ConfigError, match='format'):
        RefSegVisualizationHook(format='gif')


def test_hook_draws_a_share_of_the_samples_in_each_process(tmp_path, monkeypatch):
    for index in range(6):
        Image.new('RGB', (80, 80), GROUND).save(tmp_path / f'{index}.png')
    runner = fake_runner(tmp_path, RefSegVisualizer(save_dir=str(tmp_path / 'show')))
    for rank in (0, 1):
        monkeypatch.setattr('rs2sam2.visualization.hook.get_dist_info', lambda rank=rank: (rank, 2))
        hook = RefSegVisualizationHook(draw=True, max_images=3)
        for start in (0, 2):
            own = range(6)[rank::2]
            samples = [make_sample(index, tmp_path) for index in own[start : start + 2]]
            hook.after_test_iter(runner, start, {}, samples)
    drawn = sorted(path.name for path in (tmp_path / 'show').iterdir())
    assert drawn == sorted(picture_name(f'test/{index}') for index in range(3))


class Samples(Dataset):
    def __init__(self, folder):
        self.folder = folder
        self.metainfo = {}
        for index in range(4):
            Image.new('RGB', (80, 80), GROUND).save(folder / f'{index}.png')

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {'inputs': torch.ones(1), 'data_samples': make_sample(index, self.folder)}


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss':
            return {'loss_ce': self.weight**2, 'loss_dice': self.weight.abs()}
        return data_samples


def run(tmp_path, work_dir, train_cfg, resume=False, metric_by_epoch=True):
    loader = {
        'batch_size': 2,
        'num_workers': 0,
        'dataset': Samples(tmp_path),
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        'collate_fn': {'type': 'pseudo_collate'},
    }
    runner = Runner(
        model=Model(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        val_dataloader=loader,
        test_dataloader=loader,
        train_cfg=train_cfg,
        val_cfg={},
        test_cfg={},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.01}},
        val_evaluator=[RRSISMetric(protocol='native')],
        test_evaluator=[RRSISMetric(protocol='native')],
        default_hooks={
            'logger': {'type': 'LoggerHook', 'interval': 1, 'log_metric_by_epoch': metric_by_epoch},
            'checkpoint': {
                'type': 'CheckpointHook',
                'interval': 1,
                'by_epoch': 'by_epoch' in train_cfg and metric_by_epoch,
            },
        },
        custom_hooks=[RefSegVisualizationHook(draw=True, interval=2, max_images=3), CurvesHook()],
        visualizer={'type': RefSegVisualizer, 'vis_backends': [{'type': 'LocalVisBackend'}]},
        log_processor={'by_epoch': metric_by_epoch},
        experiment_name=f'experiment_{work_dir.name}_{resume}',
        default_scope='mmseg',
        resume=resume,
    )
    runner.train()
    return runner


def test_hooks_under_the_runner(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        'rs2sam2.visualization.curves.draw_curves',
        lambda losses, metrics, title: drawn.append((losses, metrics)) or draw_curves(losses, metrics, title),
    )
    work = tmp_path / 'epochs'
    runner = run(tmp_path, work, {'by_epoch': True, 'max_epochs': 2, 'val_interval': 1})
    with Image.open(work / 'curves.png') as picture:
        assert picture.width > 1000
    losses, metrics = drawn[-1]
    assert [x for x, _ in losses['loss']] == [1, 2, 3, 4]
    assert losses['loss_ce'][0] == (1, 4.0)
    assert [x for x, _ in metrics['rrsis/mIoU']] == [2, 4]
    assert metrics['rrsis/mIoU'][0][1] == pytest.approx(100 / 3)
    count = len(drawn)
    run(tmp_path, work, {'by_epoch': True, 'max_epochs': 2, 'val_interval': 1}, resume=True)
    assert len(drawn) == count  # nothing was left to do
    runner.test()
    assert sorted(path.name for path in (work / 'vis').glob('*.jpg')) == sorted(
        picture_name(f'test/{index}') for index in range(3)
    )
    assert [path.name for path in sorted((work / 'vis/val').iterdir())] == ['iter_2', 'iter_4']
    assert [path.name for path in (work / 'vis/val/iter_4').iterdir()] == [picture_name('test/0')]


def test_curves_of_a_resumed_run_by_iteration(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        'rs2sam2.visualization.curves.draw_curves',
        lambda losses, metrics, title: drawn.append((losses, metrics)) or draw_curves(losses, metrics, title),
    )
    work = tmp_path / 'iterations'
    run(tmp_path, work, {'by_epoch': False, 'max_iters': 2, 'val_interval': 2}, metric_by_epoch=False)
    # Run folders are named by the second.
    first = next(work.glob('*/vis_data')).parent
    first.rename(first.with_name('20200101_000000'))
    run(tmp_path, work, {'by_epoch': False, 'max_iters': 4, 'val_interval': 2}, resume=True, metric_by_epoch=False)
    losses, metrics = drawn[-1]
    assert [x for x, _ in losses['loss']] == [1, 2, 3, 4]
    assert [x for x, _ in metrics['rrsis/oIoU']] == [2, 4]


def test_scalars(tmp_path):
    old, new = tmp_path / 'old.json', tmp_path / 'new.json'
    lines = [
        {'lr': 1, 'loss': 3.0, 'step': 1},
        {'lr': 1, 'loss': 2.0, 'time': 9, 'step': 2},
        {'rrsis/mIoU': 5, 'step': 1},
    ]
    old.write_text('\n'.join(json.dumps(line) for line in lines))
    new.write_text(json.dumps({'lr': 1, 'loss': 1.0, 'step': 2}) + '\n')
    losses, metrics = read_scalars([old, new], epoch_iterations=50)
    assert losses == {'loss': [(1, 3.0), (2, 1.0)]}
    assert metrics == {'rrsis/mIoU': [(50, 5)]}
    cut = old.read_text() + '\n{"lr": 1, "lo'
    old.write_text(cut)
    assert read_scalars([old, new], epoch_iterations=50) == (losses, metrics), 'a killed run was writing'
    for text in ('{"lr": 1}\n', cut + '\n'):
        new.write_text(text)
        with pytest.raises(DataError, match=r'new\.json:\d'):
            read_scalars([new])


def test_a_single_validation_has_its_place_in_the_training():
    losses = {'loss': [(step, 1 / step) for step in range(10, 210, 10)]}
    figure = draw_curves(losses, {'rrsis/mIoU': [(200, 31.0)], 'rrsis/oIoU': [(200, 40.0)]}, 'one')
    limits = [axes.get_xlim() for axes in figure.axes]
    assert limits[0] == limits[1]
    assert limits[0][0] == 0
    assert 200 < limits[0][1] < 210


def chinese_font(path):
    """A font of squares that has Latin letters and 红船."""
    letters = [*map(chr, range(33, 127)), *'红船“”…']
    names = ['.notdef', *(f'u{ord(one):04X}' for one in letters)]
    pen = TTGlyphPen(None)
    for point in ((100, 0), (100, 700), (800, 700), (800, 0)):
        (pen.lineTo if point != (100, 0) else pen.moveTo)(point)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(one): f'u{ord(one):04X}' for one in letters})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (900, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({'familyName': 'Squares', 'styleName': 'Regular'})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


def test_chinese_words_are_drawn_or_stand_beside_the_picture(tmp_path, monkeypatch):
    sample = RefSegDataSample(metainfo=dict(expression='红船 left', sample_id='1'))
    image = np.full((40, 60, 3), 200, np.uint8)
    for fonts in ([], [chinese_font(tmp_path / 'squares.ttf')]):
        monkeypatch.setattr('matplotlib.font_manager.findSystemFonts', lambda fonts=fonts: fonts)
        fonts_of._installed.cache_clear()
        assert fonts_of.can_draw('the ship é Ω')
        assert fonts_of.can_draw('红船 left') == bool(fonts)
        assert not fonts_of.can_draw('江')
        RefSegVisualizer().add_datasample('x', image, sample, out_file=str(tmp_path / f'{len(fonts)}/x.png'))
        words = tmp_path / f'{len(fonts)}/x.txt'
        assert words.is_file() == (not fonts)
    assert (tmp_path / '0/x.txt').read_text(encoding='utf-8') == '红船 left\n'
    assert fonts_of.font_for('红', 20).getname()[0] == 'Squares'
    assert fonts_of.font_for('ship', 20).getname()[0] == 'DejaVu Sans'
    fonts_of._installed.cache_clear()
