"""`rs2sam2 segment`: outputs, pairs, resuming, failures, several processes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from typer.testing import CliRunner

from helpers.command import MODULE, flags, rows_of, start, tree
from helpers.command import run_segment as run
from helpers.work_dirs import make_image, make_work_dir
from rs2sam2 import RS2SAM2Inferencer
from rs2sam2.cli.main import app
from rs2sam2.cli.pairs import make_pairs, read_pairs
from rs2sam2.errors import DataError
from rs2sam2.models.rs2sam2.segmentor import RS2SAM2
from rs2sam2.symmetry import SYMMETRIES

EXPRESSIONS = ['ship', 'the red ship on the left']


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory) -> Path:
    return make_work_dir(tmp_path_factory.mktemp('model') / 'run')


@pytest.fixture(scope='module')
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('images')
    for seed in range(3):
        make_image(folder / f'{seed}.png', seed=seed)
    return folder


def test_turned_copies(work_dir, images, tmp_path):
    out, image = tmp_path / 'out', images / '0.png'
    command = (image, *flags(*EXPRESSIONS), '-m', work_dir, '-o', out, '--no-overlays')
    assert run(*command, '--tta', 'all', '--batch-size', 2)[0] == 0
    inferencer = RS2SAM2Inferencer(work_dir, tta='all')
    for row in rows_of(out):
        expected = inferencer(image, row['expression'])[0]
        assert row['averaged_over'] == list(SYMMETRIES)
        assert row['score'] == pytest.approx(expected.score, abs=1e-5)
    code, output = run(*command)
    assert (code, 'tta differ' in output) == (2, True)
    code, output = run(*command, '--tta', 'rot45')
    assert (code, 'no symmetry' in output) == (2, True)


def test_every_expression_in_every_image(work_dir, images, tmp_path):
    out = tmp_path / 'out'
    code, output = run(images, *flags(*EXPRESSIONS), '-m', work_dir, '-o', out, '--batch-size', 4)
    assert code == 0, output
    assert '6 segmented' in output
    rows = rows_of(out)
    assert [(Path(row['image']).name, row['expression']) for row in rows] == [
        (f'{seed}.png', text) for seed in range(3) for text in EXPRESSIONS
    ]
    inferencer = RS2SAM2Inferencer(work_dir)
    for row in rows:
        expected = inferencer(row['image'], row['expression'])[0]
        mask = np.asarray(Image.open(out / row['mask']))
        assert set(np.unique(mask)) <= {0, 255}
        assert (mask.astype(bool) != expected.mask).mean() < 0.01
        np.testing.assert_array_equal(coco_mask.decode(row['segmentation']), mask > 0)
        assert row['area'] == (mask > 0).sum()
        assert row['score'] == pytest.approx(expected.score, abs=1e-4)
        with Image.open(out / row['overlay']) as overlay:
            assert overlay.size == (40, 30)
    assert {path.name for path in (out / 'masks').iterdir()} == {Path(row['mask']).name for row in rows}


@pytest.mark.parametrize('form', ['csv', 'semicolons', 'jsonl'])
def test_pairs_from_a_file(work_dir, images, tmp_path, form):
    pairs = [('0.png', 'ship, red', 'first'), ('1.png', 'harbor', 'second/of two')]
    file = tmp_path / ('pairs.jsonl' if form == 'jsonl' else 'pairs.csv')
    if form == 'jsonl':
        lines = [json.dumps(dict(zip(('image', 'expression', 'id'), pair, strict=True))) for pair in pairs]
        file.write_text('\n'.join(lines))
    else:
        mark = ',' if form == 'csv' else ';'
        lines = [mark.join(('id', 'image', 'expression')), *(mark.join((c, a, f'"{b}"')) for a, b, c in pairs)]
        # Spreadsheets write a byte-order mark.
        file.write_text('\r\n'.join(lines), encoding='utf-8-sig')
    code, output = run('--pairs', file, '--image-root', images, '-m', work_dir, '-o', tmp_path / 'out')
    assert code == 0, output
    rows = rows_of(tmp_path / 'out')
    assert [(row['image'], row['expression'], row['id']) for row in rows] == [
        (str(images / image), text, identity) for image, text, identity in pairs
    ]
    assert rows[0]['mask'] == 'masks/first.png'
    assert re.fullmatch(r'masks/second_of_two-[0-9a-f]{8}\.png', rows[1]['mask'])


def test_ids_are_stable_safe_and_unique():
    rows = [
        ('a/x.png', 'ship', None),
        ('b/x.png', 'ship', None),
        ('a/x.png', 'ship', None),
        ('../é 红.png', '红色', None),
    ]
    rows += [('a/x.png', '/' * 300, None), ('q', 'q', '../../etc/passwd'), ('q', 'q', 'Ship'), ('q', 'q', '.hidden')]
    pairs = make_pairs(rows)
    assert pairs == make_pairs(rows)
    names = [pair.name for pair in pairs]
    assert len({name.lower() for name in names}) == len(names)
    assert all(re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9._-]{0,119}', name) for name in names)
    assert names[6] == 'Ship'
    assert names[2] == f'{names[0]}-2'
    with pytest.raises(DataError, match='stands for two pairs'):
        make_pairs([('a', 'b', 'Ship'), ('a', 'c', 'ship')])


@pytest.mark.parametrize(
    ('name', 'content', 'match'),
    [
        ('p.csv', 'image,text\na.png,ship\n', r'p.csv:1 is no header'),
        ('p.csv', 'image,expression\na.png,ship, red\n', 'p.csv:2 has 3 fields, not 2: quote'),
        ('p.csv', 'image,expression\n', 'holds no pair'),
        ('p.csv', '', 'no header'),
        ('p.csv', b'image,expression\na.png,\xff\xfe\n', 'no UTF-8'),
        ('p.csv', 'image,expression\na.png,"ship\nb.png,harbor\n', 'unexpected end'),
        ('p.jsonl', '{"image": "a.png"}\n', 'p.jsonl:1 lacks'),
        ('p.jsonl', '{"image": "a.png", "expression": "x"}\n{"image"\n', 'p.jsonl:2 is not JSON'),
        ('p.jsonl', '[1]\n', 'p.jsonl:1 is no JSON object'),
        ('p.jsonl', '{"image": "a.png", "expression": "x", "id": [1]}\n', 'p.jsonl:1: the id'),
        ('p.txt', 'a.png ship', 'is not a list of pairs'),
    ],
)
def test_unusable_lists_of_pairs_are_refused_in_one_line(tmp_path, name, content, match):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=match) as error:
        read_pairs(path)
    assert '\n' not in str(error.value)


def test_bad_pairs_are_told_and_the_rest_is_done(work_dir, images, tmp_path):
    (tmp_path / 'empty.png').touch()
    (tmp_path / 'text.png').write_text('no image')
    rows = [('empty.png', 'ship'), (images / '0.png', 'ship'), ('text.png', 'ship'), ('text.png', 'harbor')]
    rows += [(images / '0.png', ' '), (images / '1.png', 'ship ' * 10_000), ('none.png', 'x'), (images / '1.png', '红')]
    (tmp_path / 'p.csv').write_text('image,expression\n' + ''.join(f'{image},{text}\n' for image, text in rows))
    code, output = run('--pairs', tmp_path / 'p.csv', '-m', work_dir, '-o', tmp_path / 'out', '--batch-size', 3)
    assert code == 1
    assert '2 segmented' in output
    assert '6 failed' in output
    told = [line for line in output.splitlines() if line.startswith('failed: ')]
    assert len(told) == 5
    for name in (
        'empty.png is empty',
        'text.png is not an image',
        'is empty: write',
        'room for 30',
        'none.png is missi',
    ):
        assert sum(name in line for line in told) == 1, name
    assert [row['expression'] for row in rows_of(tmp_path / 'out')] == ['ship', '红']
    # What failed is tried again, what is finished is not.
    code, output = run('--pairs', tmp_path / 'p.csv', '-m', work_dir, '-o', tmp_path / 'out')
    assert code == 1
    assert '0 segmented (0 empty), 2 finished before, 6 failed' in output


def test_logits_that_are_no_numbers_fail_their_pair(work_dir, images, tmp_path, monkeypatch):
    predict = RS2SAM2.predict

    def broken(self, *args, **kwargs):
        samples = predict(self, *args, **kwargs)
        for sample in samples:
            if sample.expression == 'ship':
                sample.seg_logits.data[:] = float('nan')
        return samples

    monkeypatch.setattr(RS2SAM2, 'predict', broken)
    out = tmp_path / 'out'
    code, output = run(images, *flags('ship', 'red ship'), '-m', work_dir, '-o', out, '--batch-size', '2')
    assert code == 1, output
    assert output.count("'ship': the model returned NaN or infinity") == len(rows_of(out))
    assert {row['expression'] for row in rows_of(out)} == {'red ship'}
    monkeypatch.undo()
    code, output = run(images, *flags('ship', 'red ship'), '-m', work_dir, '-o', out, '--batch-size', '2')
    assert code == 0, output
    assert {row['expression'] for row in rows_of(out)} == {'ship', 'red ship'}


@pytest.fixture(scope='module')
def whole(work_dir, images, tmp_path_factory) -> dict[str, bytes]:
    """Outputs of one undisturbed run."""
    out = tmp_path_factory.mktemp('whole') / 'out'
    assert run(images, *flags(*EXPRESSIONS), '-m', work_dir, '-o', out)[0] == 0
    return tree(out)


class Killed(BaseException):
    """Stands for a signal: nothing catches it."""


@pytest.mark.parametrize('step', range(2, 58, 9))
def test_killed_anywhere_and_started_again_gives_the_same_outputs(work_dir, images, whole, tmp_path, monkeypatch, step):
    out = tmp_path / 'out'
    args = (images, *flags(*EXPRESSIONS), '-m', work_dir, '-o', out)
    steps = []

    def dying(action):
        def do(*args, **kwargs):
            steps.append(action)
            if len(steps) == step:
                raise Killed
            return action(*args, **kwargs)

        return do

    with monkeypatch.context() as patch:
        for name in ('fsync', 'replace'):
            patch.setattr(os, name, dying(getattr(os, name)))
        patch.setattr(Image.Image, 'save', dying(Image.Image.save))
        with pytest.raises(Killed):
            run(*args)
    finished = tree(out)
    for name, content in finished.items():
        if name.startswith(('masks/', 'overlays/')) and '/.' not in name:
            assert content == whole[name]
    segmented = []
    forward = RS2SAM2Inferencer.forward
    monkeypatch.setattr(
        RS2SAM2Inferencer, 'forward', lambda self, batch, *args: segmented.extend(batch) or forward(self, batch, *args)
    )
    code, output = run(*args)
    assert code == 0, output
    assert tree(out) == whole
    done = finished.get('results.jsonl', b'').count(b'\n')
    assert len(segmented) == 6 - done
    assert f'{done} finished before' in output
    assert '0 segmented' in run(*args)[1]
    assert tree(out) == whole


def test_a_torn_last_line_is_repaired_and_a_lost_picture_is_made_again(work_dir, images, whole, tmp_path):
    out = tmp_path / 'out'
    args = (images, *flags(*EXPRESSIONS), '-m', work_dir, '-o', out)
    run(*args)
    content = (out / 'results.jsonl').read_bytes()
    lines = content.splitlines(keepends=True)
    (out / 'results.jsonl').write_bytes(b''.join(lines[:3]) + lines[3][:70])
    (out / json.loads(lines[1])['mask']).unlink()
    (out / 'masks/.left.png.1.unfinished').write_bytes(b'half')
    code, output = run(*args)
    assert code == 0
    assert '4 segmented' in output
    assert '2 finished before' in output
    assert tree(out) == whole


def test_a_folder_of_another_run_is_refused(work_dir, images, tmp_path):
    out = tmp_path / 'out'
    args = (images / '0.png', '-m', work_dir, '-o', out)
    run(*args, '-e', 'ship')
    before = tree(out)
    code, output = run(*args, '-e', 'ship', '--min-score', 0.9)
    assert code == 2
    assert 'results of another run (min_score differ)' in output
    other = tmp_path / 'p.csv'
    other.write_text(f'image,expression,id\n{images / "1.png"},ship,{json.loads(before["results.jsonl"])["id"]}\n')
    code, output = run('--pairs', other, '-m', work_dir, '-o', out)
    assert code == 2
    assert 'choose another --out' in output
    assert tree(out) == before
    # More of the same kind may join.
    assert run(*args, '-e', 'harbor')[0] == 0
    assert len(rows_of(out)) == 2


def test_min_score_and_no_overlays(work_dir, images, tmp_path):
    args = ('-e', 'ship', '-m', work_dir, '-o', tmp_path / 'out', '--min-score', 1, '--no-overlays')
    code, output = run(images / '0.png', *args)
    assert code == 0
    assert '1 segmented (1 empty)' in output
    row = rows_of(tmp_path / 'out')[0]
    assert row['empty']
    assert 'is below 1' in row['reason']
    assert not np.asarray(Image.open(tmp_path / 'out' / row['mask'])).any()
    assert not (tmp_path / 'out/overlays').exists()


def test_refining_from_the_command_line(images, tmp_path):
    model = make_work_dir(tmp_path / 'run', point_prompts=True)
    args = (images / '0.png', '-e', 'ship', '-m', model)
    prompts = ('--box', '10,5,30,20', '--point', '8,9', '--point', '3,4,0')
    assert run(*args, '-o', tmp_path / 'out', *prompts)[0] == 0
    expected = RS2SAM2Inferencer(model)(images / '0.png', 'ship', box=(10, 5, 30, 20), point=[(8, 9), (3, 4, 0)])[0]
    assert rows_of(tmp_path / 'out')[0]['segmentation'] == expected.rle


def one_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip() and not line.strip().startswith('segmenting')]
    assert len(lines) == 1, output
    return lines[0]


@pytest.mark.parametrize(
    ('args', 'match'),
    [
        ([], 'give IMAGE and --expression, or --pairs'),
        (['{images}'], 'give IMAGE and --expression, or --pairs'),
        (['{images}', '-e', 'ship', '--pairs', 'p.csv'], 'give IMAGE and --expression, or --pairs'),
        (['{images}/none*.png', '-e', 'ship'], 'no file matches'),
        (['{images}', '-e', 'ship', '--point', '1,1'], 'belong to one image'),
        (['{images}/0.png', '-e', 'ship', '--point', 'here'], '--point here: 2 or 3 numbers'),
        (['{images}/0.png', '-e', 'ship', '--box', '1,2,3'], '--box 1,2,3: 4 numbers'),
        (['{images}/0.png', '-e', 'ship', '--point', '1,1'], 'cannot be refined'),
        (['{images}/0.png', '-e', 'ship', '--device', 'toaster'], 'device='),
        (['--pairs', 'none.csv'], 'none.csv cannot be read'),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(work_dir, images, tmp_path, args, match):
    args = [one.format(images=images) for one in args]
    code, output = run(*args, '-m', work_dir, '-o', tmp_path / 'out')
    assert code == 2
    assert match in one_line(output)


def test_unwritable_output_folder(work_dir, images, tmp_path):
    (tmp_path / 'file').write_text('here is a file')
    code, output = run(images / '0.png', '-e', 'ship', '-m', work_dir, '-o', tmp_path / 'file/out')
    assert code == 2
    assert 'cannot be written (Not a directory)' in one_line(output)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 96 KiB."""
    mount = tmp_path / 'disk'
    mount.mkdir()
    made = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=96k', 'tmpfs', mount], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f'no small file system can be mounted here: {made.stderr.strip()}')
    yield mount
    subprocess.run(['umount', mount], check=True)


def test_full_disk_stops_in_one_line_and_goes_on_when_there_is_room(work_dir, images, small_disk):
    out = small_disk / 'out'
    ballast = small_disk / 'ballast'
    ballast.write_bytes(bytes(68 * 1024))
    args = (images, *flags(*EXPRESSIONS), '-m', work_dir, '-o', out)
    code, output = run(*args)
    assert code == 2
    assert 'cannot be written (No space left on device)' in one_line(output)
    for path in out.rglob('*.*'):
        assert 'unfinished' not in path.name
        if path.suffix in ('.png', '.jpg'):
            Image.open(path).load()
    ballast.unlink()
    assert run(*args)[0] == 0
    assert len(rows_of(out)) == 6


def test_help_names_the_commands_and_the_exit_codes():
    result = CliRunner().invoke(app, ['segment', '--help'], terminal_width=200)
    assert result.exit_code == 0
    for word in ('--expression', '--pairs', 'torchrun', 'Exit codes: 0'):
        assert word in result.output


@pytest.mark.slow
def test_processes_share_the_pairs(work_dir, images, whole, tmp_path):
    out = tmp_path / 'out'
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', 2]
    command = [*torchrun, '-m', 'rs2sam2.cli.main', 'segment', images, *flags(*EXPRESSIONS), '-m', work_dir, '-o', out]
    process = start(*command)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert '6 segmented (' in output
    assert tree(out) == whole


@pytest.mark.slow
def test_killed_by_a_signal_and_started_again(work_dir, tmp_path):
    folder = tmp_path / 'images'
    for seed in range(60):
        make_image(folder / f'{seed:02}.png', (300, 300), seed=seed)
    command = [*MODULE, 'segment', folder, '-e', 'ship', '-m', work_dir, '-o']
    assert start(*command, tmp_path / 'whole').wait(300) == 0
    process = start(*command, tmp_path / 'killed')
    results = tmp_path / 'killed/results.jsonl'
    while not (results.exists() and results.read_bytes().count(b'\n') >= 7):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = results.read_bytes().count(b'\n')
    assert done < 60
    process = start(*command, tmp_path / 'killed')
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert f'{60 - done} segmented' in output
    assert tree(tmp_path / 'killed') == tree(tmp_path / 'whole')


def test_scene_by_its_command(work_dir, tmp_path):
    rasterio = pytest.importorskip('rasterio')
    pytest.importorskip('pyogrio')
    transform = rasterio.transform.from_origin(500_000, 4_000_000, 2.0, 2.0)
    values = np.random.default_rng(0).integers(0, 255, (3, 100, 130), dtype=np.uint8)
    options = dict(width=130, height=100, count=3, dtype='uint8', crs='EPSG:32631', transform=transform)
    with rasterio.open(tmp_path / 'scene.tif', 'w', driver='GTiff', **options) as scene:
        scene.write(values)
    command = ['scene', tmp_path / 'scene.tif', '-e', 'ship', '-m', work_dir]
    outputs = ['--mask', tmp_path / 'mask.tif', '--polygons', tmp_path / 'found.gpkg']
    result = CliRunner().invoke(app, [str(word) for word in command + outputs])
    assert result.exit_code == 0, result.output
    # The view of this model is 64 pixels wide, so are its windows.
    assert 'windows of 64x64' in result.output
    with rasterio.open(tmp_path / 'mask.tif') as mask:
        assert (mask.crs.to_string(), mask.transform, mask.shape) == ('EPSG:32631', transform, (100, 130))
        foreground = int((mask.read(1) == 1).sum())
    assert f'{foreground:,} of 13,000 pixels' in result.output
    assert (tmp_path / 'found.gpkg').exists()
    refused = CliRunner().invoke(app, [str(word) for word in command])
    assert refused.exit_code == 2
    assert 'no output is named' in one_line(refused.output)
    refused = CliRunner().invoke(app, [*map(str, command), '--out', str(tmp_path), '--candidates', 'c.gpkg'])
    assert refused.exit_code == 2
    assert '--candidates is of one scene' in one_line(refused.output)


def test_a_scene_with_turned_copies_turns_with_its_scene(work_dir, tmp_path):
    """Averaged over both, it does not matter which of a scene and its half turn comes in."""
    rasterio = pytest.importorskip('rasterio')
    values = np.random.default_rng(0).integers(0, 255, (3, 100, 130), dtype=np.uint8)
    found = {}
    for name, bands in (('as it is', values), ('turned', values[:, ::-1, ::-1])):
        with rasterio.open(
            tmp_path / 's.tif', 'w', driver='GTiff', width=130, height=100, count=3, dtype='uint8'
        ) as to:
            to.write(bands)
        command = ['scene', tmp_path / 's.tif', '-e', 'ship', '-m', work_dir, '--probability', tmp_path / 'p.tif']
        result = CliRunner().invoke(app, [str(word) for word in (*command, '--tta', 'rot180')])
        assert result.exit_code == 0, result.output
        with rasterio.open(tmp_path / 'p.tif') as file:
            found[name] = file.read(1).astype(int)
    assert found['as it is'].std() > 1
    assert np.abs(found['as it is'] - found['turned'][::-1, ::-1]).max() <= 1
    command[3] = 'the ship left'
    result = CliRunner().invoke(app, [str(word) for word in (*command, '--tta', 'rot180')])
    assert 'note: not turned by rot180' in result.output


@pytest.mark.shared
def test_real_photographs_by_a_list(work_dir, shared, tmp_path):
    photographs = sorted((shared / 'data/nwpu_vhr10').rglob('*.jpg'))[:2]
    lines = [f'"{path.relative_to(shared)}","the {word} on the left"' for path in photographs for word in ('ship', 'x')]
    (tmp_path / 'p.csv').write_text('\n'.join(['image,expression', *lines]))
    out = tmp_path / 'out'
    code, output = run('--pairs', tmp_path / 'p.csv', '--image-root', shared, '-m', work_dir, '-o', out)
    assert code == 0, output
    rows = rows_of(out)
    assert [row['image'] for row in rows[::2]] == [str(path) for path in photographs]
    for row in rows:
        with Image.open(row['image']) as photograph, Image.open(out / row['mask']) as mask:
            assert photograph.size == mask.size == (row['width'], row['height'])


@pytest.mark.parametrize('option', ['--out', '--mask', '--aoi', '--model', '--expression', 'SCENE'])
def test_a_variable_of_the_shell_that_is_not_set_is_no_name(tmp_path, monkeypatch, option):
    """As a path it would be the folder where the command runs."""
    monkeypatch.chdir(tmp_path)
    words = ['a.tif', '-e', 'ship', '-m', 'demo', *([''] if option == 'SCENE' else [option, ''])]
    if option in ('--model', '--expression'):
        del words[words.index(option[1:3]) : words.index(option[1:3]) + 2]
    result = CliRunner().invoke(app, ['scene', *words])
    assert result.exit_code == 2
    text = ' '.join(result.output.split())
    assert option in text
    assert 'it is empty' in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('option', ['--out', '--mask', '--gsd', '--nodata', '-m'])
def test_a_scene_refuses_an_option_twice(work_dir, tmp_path, option):
    words = ['scene', str(tmp_path / 'a.tif'), '-e', 'ship', '-m', str(work_dir), '--mask', str(tmp_path / 'm.tif')]
    words += ['--gsd', '1', '--nodata', '0', '--out', 'o', option, '1']
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert 'given more than once' in ' '.join(result.output.split())
