"""check_dataset and browse_dataset on a set with every flaw, and on a clean one."""

import json
import pickle
import runpy
import sys

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from helpers.paths import ROOT
from rs2sam2.datasets.check import NOTES, PROBLEMS, check_datasets
from rs2sam2.datasets.jsonl import JSONLRefSegDataset
from rs2sam2.datasets.risbench import RISBenchDataset
from rs2sam2.datasets.rrsisd import RRSISDDataset
from rs2sam2.symmetry import SYMMETRIES
from rs2sam2.synthetic.tokenizer import train_tokenizer
from rs2sam2.text.grammar import vocabulary
from rs2sam2.text.tokenizer import RefSegTokenizer

SIZE = (30, 40)


class Letters:
    """A tokenizer that knows ASCII."""

    unk_id = 3

    def __call__(self, text):
        return [0, *(ord(letter) if ord(letter) < 128 else 3 for letter in text), 2]


def write(root, split, *lines):
    for line in lines:
        path = root / line['image']
        if not path.exists():
            seed = sum(map(ord, line['image']))
            noise = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), np.uint8)
            Image.fromarray(noise).save(path)
    (root / f'{split}.jsonl').write_text('\n'.join(json.dumps(line) for line in lines))


def line(image, expression='the ship', **more):
    return dict(image=image, expression=expression) | (more or dict(boxes=[[1, 1, 9, 9]]))


def check(root, kind=JSONLRefSegDataset, splits=('train', 'val'), **kwargs):
    sets = {name: kind(data_root=str(root), split=name, lazy_init=True, **kwargs) for name in splits}
    return check_datasets(sets, Letters())


def test_a_clean_set(tmp_path):
    write(tmp_path, 'train', line('a.png'), line('b.png', 'no ship', no_target=True))
    write(tmp_path, 'val', line('c.png'))
    report = check(tmp_path)
    assert report.fit
    assert report.as_json()['findings'] == {}
    turned = dict.fromkeys(SYMMETRIES, 1.0)
    assert report.splits['train'] == dict(samples=2, images=2, no_target=1, published=None, turned=turned)


def test_every_flaw_is_found_in_one_go(tmp_path):
    half = np.zeros(SIZE, np.uint8)
    Image.fromarray(half).save(tmp_path / 'empty_mask.png')
    Image.fromarray(half.T).save(tmp_path / 'turned_mask.png')
    write(
        tmp_path,
        'train',
        line('a.png', 'the cafÃ© on the left'),
        line('b.png', '船 on the left'),
        line('gone.png'),
        line('cut.png'),
        line('c.png', mask='empty_mask.png'),
        line('c.png', mask='turned_mask.png'),
        line('c.png', mask='no_mask.png'),
        line('c.png', boxes=[[1, 1, 90, 9]]),
        line('c.png', rle=dict(size=list(SIZE), counts='zz')),
        line('c.png', '  '),
        line('c.png') | dict(id='1'),
    )
    write(tmp_path, 'val', line('val.png'))
    (tmp_path / 'gone.png').unlink()
    content = (tmp_path / 'cut.png').read_bytes()
    (tmp_path / 'cut.png').write_bytes(content[: len(content) // 2])
    Image.open(tmp_path / 'b.png').save(tmp_path / 'val.png')
    report = check(tmp_path)
    found = {kind: texts for kind, texts in report.findings.items() if texts}
    assert not report.fit
    assert {kind: len(texts) for kind, texts in found.items()} == {
        'damaged text': 1, 'unknown word': 2, 'bad image': 2, 'bad mask': 4, 'empty mask': 1, 'empty expression': 1,
        'id twice': 1, 'image in two splits': 1, 'not turned': 1,
    }  # fmt: skip
    assert "reads like 'the café on the left'" in found['damaged text'][0]
    assert any('船' in text and 'in 1 sentences' in text for text in found['unknown word'])
    assert any('gone.png is missing' in text for text in found['bad image'])
    assert any('cut.png cannot be decoded' in text for text in found['bad image'])
    assert sum('its mask is 40 x 30' in text for text in found['bad mask']) == 1
    assert 'b.png' in found['image in two splits'][0]
    assert 'val.png' in found['image in two splits'][0]
    assert found['not turned'] == ["train: 2 sentences: another language, such as 'the cafÃ© on the left'"]
    assert report.splits['train']['turned']['rot90'] == pytest.approx(9 / 11)
    assert report.splits['train']['turned']['identity'] == 1
    assert set(found) <= {*PROBLEMS, *NOTES}


def test_workers_find_the_same(tmp_path):
    write(tmp_path, 'train', *(line(f'{n}.png') for n in range(20)), line('cut.png'))
    (tmp_path / 'cut.png').write_bytes(b'\x89PNG')
    sets = {'train': JSONLRefSegDataset(data_root=str(tmp_path), lazy_init=True)}
    calls = []
    one = check_datasets(sets, workers=1)
    two = check_datasets(sets, workers=2, progress=lambda *at: calls.append(at))
    assert one.as_json() == two.as_json()
    assert calls[-1] == (21, 21)


def test_counts_sizes_and_skipped(tmp_path):
    for folder in ('img_rgb', 'mask'):
        (tmp_path / folder).mkdir()
    for name, size in (('a.png', SIZE), ('b.png', (31, 40))):
        Image.fromarray(np.full((*SIZE, 3), len(name), np.uint8)).save(tmp_path / 'img_rgb' / name)
        Image.fromarray(np.ones(size, np.uint8)).save(tmp_path / 'mask' / name)
    (tmp_path / 'output_phrase_train.txt').write_text('a.png the ship\nb.png the dam\n')
    report = check(tmp_path, RISBenchDataset, ('train', 'val'))
    assert report.findings['wrong count'] == ['train: 2 samples, 26,300 published']
    assert len(report.findings['other size']) == 1
    assert 'sample b.png' in report.findings['other size'][0]
    assert 'cannot read' in report.findings['unreadable split'][0]
    report = check(tmp_path, RISBenchDataset, ('train',), skip_ids=['b.png'])
    assert report.fit
    assert report.findings['skipped'] == ['train: b.png']
    assert not check(tmp_path, RISBenchDataset, ('train',), skip_ids=['x.png']).fit


@pytest.fixture
def config(tmp_path):
    """A config on JSON lines with a real small tokenizer."""
    model = train_tokenizer(vocabulary(['ship']))
    (tmp_path / 'sentencepiece.bpe.model').write_bytes(model)
    write(tmp_path, 'train', line('a.png', 'The ship on the left'), line('b.png'), line('c.png', no_target=True))
    write(tmp_path, 'val', line('d.png', 'the red ship'))
    pieces = _pieces(tmp_path / 'sentencepiece.bpe.model')
    tokenizer = dict(type='RefSegTokenizer', path=str(tmp_path), num_pieces=pieces)
    steps = ['LoadRGBImage', 'LoadReferringMask', 'ResizeTwoViews', 'TokenizeExpression', 'PackRefSegInputs']
    pipeline = [dict(type=step) for step in steps]
    pipeline[2].update(size=64, union_size=32)
    pipeline[3].update(tokenizer=tokenizer)
    content = dict(
        custom_imports=dict(imports=['rs2sam2'], allow_failed_imports=False), work_dir=str(tmp_path / 'work')
    )
    for loader, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        dataset = dict(type='JSONLRefSegDataset', data_root=str(tmp_path), split=split, pipeline=pipeline)
        content[f'{loader}_dataloader'] = dict(dataset=dataset)
    Config(content).dump(tmp_path / 'config.py')
    return tmp_path / 'config.py'


def _pieces(path):
    from sentencepiece import SentencePieceProcessor

    return SentencePieceProcessor(model_file=str(path)).get_piece_size()


def tool(monkeypatch, name, *args):
    monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')
    return stopped.value.code


def test_check_tool(config, monkeypatch, capsys):
    name = 'dataset_tools/check_dataset.py'
    assert tool(monkeypatch, name, config, '--workers', 1) == 0
    printed = capsys.readouterr().out
    assert 'val, test' in printed
    assert '100.0%' in printed
    assert 'not fit' not in printed
    report = json.loads((config.parent / 'work/check_dataset.json').read_text())
    assert report['fit'] is True
    assert report['splits']['val, test']['samples'] == 1
    (config.parent / 'a.png').unlink()
    assert tool(monkeypatch, name, config, '--workers', 1, '--out', config.parent / 'report.json') == 1
    assert 'bad image: 1' in capsys.readouterr().out
    assert 'a.png is missing' in json.loads((config.parent / 'report.json').read_text())['findings']['bad image'][0]
    assert tool(monkeypatch, name, config.parent / 'none.py') == 2
    other = config.with_name('other.py')
    dataset = "dict(_delete_=True, type='BaseSegDataset')"
    other.write_text(f"_base_ = ['{config.name}']\ntrain_dataloader = dict(dataset={dataset})\n")
    assert tool(monkeypatch, name, other) == 2
    assert 'no referring data set' in capsys.readouterr().err


def test_browse_tool(config, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['browse_dataset.py', str(config), '--number', '3'])
    runpy.run_path(str(ROOT / 'tools/misc/browse_dataset.py'), run_name='__main__')
    sheet = np.asarray(Image.open(config.parent / 'work/browse/train_0.png'))
    assert sheet.shape[0] > 600
    assert sheet.std() > 10
    assert tool(monkeypatch, 'misc/browse_dataset.py', config, '--number', 0) == 2


def test_browse_tool_says_how_a_sample_is_turned(config, monkeypatch):
    titles = []
    browse = runpy.run_path(str(ROOT / 'tools/misc/browse_dataset.py'))
    monkeypatch.setitem(
        browse['picture'].__globals__, 'draw_figure', lambda panels, *texts: titles.append(texts) or panels[0].image
    )
    cfg = Config.fromfile(config)
    cfg.train_dataloader.dataset.pipeline.insert(2, dict(type='Turn', element='rot90'))
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    browse['picture'](dataset[0], str)
    ((sentence, subtitle),) = titles
    assert sentence == 'The ship at the bottom'
    assert 'turned by rot90' in subtitle


def test_pieces_of_a_text(config):
    file = config.parent / 'sentencepiece.bpe.model'
    tokenizer = RefSegTokenizer(file, _pieces(file))
    ids = tokenizer('the ship 船')
    pieces = tokenizer.pieces(ids)
    assert (pieces[0], pieces[-1]) == ('<s>', '</s>')
    assert '<unk>' in pieces
    assert ''.join(pieces[1:-1]).replace('<unk>', '').replace('▁', ' ').split() == ['the', 'ship']


def test_images_that_exif_turns_are_told(tmp_path):
    write(tmp_path, 'train', line('a.jpg'), line('b.jpg', mask='b.png'))
    write(tmp_path, 'val', line('c.png'))
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ('a.jpg', 'b.jpg'):
        Image.open(tmp_path / name).save(tmp_path / name, exif=exif)
    Image.fromarray(np.ones(SIZE, np.uint8)).save(tmp_path / 'b.png')
    report = check(tmp_path)
    assert report.findings['turned by EXIF'] == [f'train: {tmp_path}/{name}.jpg: orientation 6' for name in 'ab']
    (text,) = report.findings['bad mask']
    assert 'its mask is 30 x 40 (h x w), its image' in text
    assert 'as viewers show it: its EXIF orientation turns it' in text


def test_all_bad_lines_are_told_and_the_good_ones_checked(tmp_path):
    write(tmp_path, 'val', line('v.png'))
    good = line('a.png'), line('gone.png')
    write(tmp_path, 'train', *good)
    (tmp_path / 'gone.png').unlink()
    bad = ['{"image": "a.png"', '{"image": "a.png", "image": "b.png"}', '[1]', '{"id": NaN}', '{"image": "a.png"}']
    bad += ['{"image": "a.png", "expression": "x", "boxes": [[1, 1, 0, 9]]}', '[' * 10_000 + ']' * 10_000]
    bad += ['{"image": "a.png", "expression": "x", "category": " ", "no_target": true}', f'{{"id": {"9" * 400}}}']
    texts = [json.dumps(one) for one in good]
    (tmp_path / 'train.jsonl').write_text('\n'.join([bad[0], texts[0], *bad[1:], texts[1]]))
    report = check(tmp_path)
    told = report.findings['bad entry']
    assert [text.split(':')[2] for text in told] == [str(n) for n in (1, 3, 4, 5, 6, 7, 8, 9, 10)]
    for text, what in zip(
        told,
        ('not a whole', "the key 'image' is twice", 'list instead', 'NaN is no', 'no expression', 'has no area',
         'nested more than 100', 'category is an empty', 'a number of 400 digits'),
        strict=True,
    ):  # fmt: skip
        assert what in text
    assert len(report.findings['bad image']) == 1
    assert report.splits['train']['samples'] == 2


def test_all_bad_refs_are_told(tmp_path):
    (tmp_path / 'images').mkdir()
    Image.new('RGB', SIZE[::-1]).save(tmp_path / 'images/a.png')
    box = [[1, 1, 9, 1, 9, 9]]
    refs = [
        dict(ref_id=n, image_id='1', ann_id=ann, category_id=None, split='train', file_name='a.png', sentences=said)
        for n, (ann, said) in enumerate(
            [(1, [dict(sent='a ship')]), (2, [dict(sent='a ship')]), ('1', [dict(sent='one')]), (1, []), (1, ['text'])]
        )
    ]
    (tmp_path / 'r.p').write_bytes(pickle.dumps([*refs, {}]))
    annotations = [dict(id=1, segmentation=box, category_id='7'), dict(segmentation=box), dict(id='1')]
    content = dict(annotations=annotations, categories=[dict(id=7, name='ship')], images=[])
    (tmp_path / 'i.json').write_text('\ufeff' + json.dumps(content))
    files = dict(ann_file='r.p', instances_file='i.json', data_prefix=dict(img_path='images'), metainfo={})
    report = check(tmp_path, RRSISDDataset, ('train',), **files)
    told = report.findings['bad entry']
    for what in ('entry 1 of `annotations` has no id', "id '1' twice", 'no annotation 2 for ref 1',
                 'ref 3 has no sentence', 'sentence 0 of ref 4', 'at place 5 has no ref_id'):  # fmt: skip
        assert sum(what in text for text in told) == 1, (what, told)
    assert len(told) == 6
    assert report.splits['train']['samples'] == 2


def test_what_training_refuses_the_check_tells(config, monkeypatch, capsys):
    name, root = 'dataset_tools/check_dataset.py', config.parent
    text = config.read_text()
    config.write_text(
        text + "model = dict(data_preprocessor=dict(type='RefSegDataPreProcessor', max_text_length=40))\n"
    )
    write(root, 'train', line('a.png', 'the ship ' * 20), line('b.png', 'the [/red] ship'), line('c.png', '\ud800'))
    assert tool(monkeypatch, name, config, '--workers', 1) == 1
    told = json.loads((root / 'work/check_dataset.json').read_text())['findings']['bad sentence']
    assert 'the text table has room for 40: shorten it' in told[0]
    assert 'is not valid Unicode text' in told[1]
    assert len(told) == 2
    capsys.readouterr()
    write(root, 'train', line('a.png'))
    config.write_text(text + "train_dataloader['dataset']['filter_cfg'] = dict(categories=('dam',))\n")
    assert tool(monkeypatch, name, config, '--workers', 1) == 1
    assert 'does not start: 1' in (printed := capsys.readouterr().out)
    assert 'no sample of' in printed
