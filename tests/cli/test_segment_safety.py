"""`rs2sam2 segment` when pictures are replaced, runs collide, signals arrive, and words are hostile."""

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

from helpers.command import MODULE, flags, rows_of, run_command, start, tree
from helpers.command import run_segment as run
from helpers.paths import ROOT
from helpers.work_dirs import make_image, make_work_dir
from rs2sam2 import RS2SAM2Inferencer, __version__
from rs2sam2.cli.pairs import read_pairs
from rs2sam2.errors import ConfigError, DataError
from rs2sam2.locks import hold_folder

EXPRESSIONS = ['ship', 'the red ship on the left', 'harbor in the middle']


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory) -> Path:
    return make_work_dir(tmp_path_factory.mktemp('model') / 'run')


@pytest.fixture
def images(tmp_path) -> Path:
    for seed in range(4):
        make_image(tmp_path / f'images/{seed}.png', seed=seed)
    return tmp_path / 'images'


# Pictures replaced under their names


def test_a_replaced_picture_is_segmented_anew_and_only_it(work_dir, images, tmp_path):
    args = (images, '-e', 'ship', '-m', work_dir, '-o', tmp_path / 'out')
    run(*args)
    before = tree(tmp_path / 'out')
    stamp = (images / '1.png').stat()
    make_image(images / '1.png', seed=77)
    # Neither time nor size has to tell.
    os.utime(images / '1.png', ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    code, output = run(*args)
    assert code == 0
    assert '1 segmented (0 empty), 3 finished before, 0 failed' in output
    assert 'note: 1 of them again, because their image was replaced' in output
    run(*args[:-1], tmp_path / 'fresh')
    assert tree(tmp_path / 'out') == tree(tmp_path / 'fresh')
    changed = {name for name, content in tree(tmp_path / 'out').items() if content != before[name]}
    assert len(changed) == 3
    assert '0 segmented' in run(*args)[1]


def test_nothing_stale_is_left_of_a_picture_that_broke(work_dir, images, tmp_path):
    out = tmp_path / 'out'
    args = (images, '-e', 'ship', '-m', work_dir, '-o', out)
    run(*args)
    row = next(row for row in rows_of(out) if row['image'].endswith('1.png'))
    (images / '1.png').write_text('no picture any more')
    code, output = run(*args)
    assert code == 1
    assert '0 segmented (0 empty), 3 finished before, 1 failed' in output
    assert [Path(row['image']).name for row in rows_of(out)] == ['0.png', '2.png', '3.png']
    assert not (out / row['mask']).exists()
    assert not (out / row['overlay']).exists()


def test_results_of_pictures_that_were_moved_away_stay(work_dir, images, tmp_path):
    pairs = tmp_path / 'p.csv'
    pairs.write_text('image,expression\n' + ''.join(f'images/{seed}.png,ship\n' for seed in range(4)))
    args = ('--pairs', pairs, '-m', work_dir, '-o', tmp_path / 'out')
    run(*args)
    before = tree(tmp_path / 'out')
    (images / '2.png').unlink()
    assert '0 segmented (0 empty), 4 finished before, 0 failed' in run(*args)[1]
    assert tree(tmp_path / 'out') == before


# Batches


@pytest.mark.parametrize('size', [2, 5])
def test_resumed_batches_have_their_members_and_so_their_bits(work_dir, images, tmp_path, size):
    args = (images, *flags(*EXPRESSIONS), '-m', work_dir, '--batch-size', size, '-o')
    run(*args, tmp_path / 'whole')
    whole = tree(tmp_path / 'whole')
    lines = whole['results.jsonl'].splitlines(keepends=True)
    for kept in ((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), (0,), (0, 4, 8), (2, 3, 9)):
        out = tmp_path / f'out{kept[0]}{len(kept)}'
        for name, content in whole.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(content)
        (out / 'results.jsonl').write_bytes(b''.join(lines[one] for one in kept))
        code, output = run(*args, out)
        assert code == 0
        assert f'{12 - len(kept)} segmented' in output
        assert tree(out) == whole


def test_batches_do_depend_on_their_members(work_dir, images):
    """What the test above would not see otherwise: another batch, other last bits."""
    inferencer = RS2SAM2Inferencer(work_dir)
    alone, together = inferencer(images / '0.png', EXPRESSIONS), inferencer(images / '0.png', EXPRESSIONS, batch_size=3)
    assert any((one.logits != other.logits).any() for one, other in zip(alone, together, strict=True))


# Two runs, signals, leftovers


def test_a_second_run_into_one_folder_is_refused_by_name(work_dir, images, tmp_path):
    args = (images, '-e', 'ship', '-m', work_dir, '-o', tmp_path / 'out')
    run(*args)
    before = tree(tmp_path / 'out')
    script = (
        'import sys; from pathlib import Path; from rs2sam2.locks import hold_folder\n'
        'with hold_folder(Path(sys.argv[1])): print("held", flush=True); sys.stdin.readline()'
    )
    with start(sys.executable, '-c', script, tmp_path / 'out', stdin=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == 'held\n'
        code, output = run(*args)
        holder.communicate('\n')
    assert code == 2
    assert re.search(rf'error: \S+/out is in use by process {holder.pid} on .*choose another --out\n', output)
    assert tree(tmp_path / 'out') == before
    with hold_folder(tmp_path / 'out'):
        assert run(*args)[0] == 2
    assert '4 finished before' in run(*args)[1]


@pytest.mark.slow
def test_two_runs_at_once_lose_nothing(work_dir, tmp_path):
    for seed in range(24):
        make_image(tmp_path / f'images/{seed}.png', (200, 200), seed=seed)
    command = [*MODULE, 'segment', tmp_path / 'images', '-e', 'ship', '-m', work_dir, '-o', tmp_path / 'out']
    both = [start(*command), start(*command)]
    told = [process.communicate(timeout=300)[0] for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 2], told
    assert 'is in use by process' in told[codes.index(2)]
    assert '24 segmented' in told[codes.index(0)]
    assert len(rows_of(tmp_path / 'out')) == 24


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_one_line_and_leaves_nothing_unfinished(work_dir, tmp_path, number):
    for seed in range(40):
        make_image(tmp_path / f'images/{seed:02}.png', (300, 300), seed=seed)
    command = [*MODULE, 'segment', tmp_path / 'images', '-e', 'ship', '-m', work_dir, '-o', tmp_path / 'out']
    process = start(*command, stderr=subprocess.PIPE)
    results = tmp_path / 'out/results.jsonl'
    while not (results.exists() and results.read_bytes().count(b'\n') >= 5):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    output, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert output == ''
    assert [line for line in told.splitlines() if 'segmenting' not in line and line.strip()] == [
        f'stopped by {number.name}; what is finished stays: run the same command again to go on'
    ]
    names = {path.name for path in (tmp_path / 'out').rglob('*')}
    assert not [name for name in names if name.startswith('.')]
    done = len(rows_of(tmp_path / 'out'))
    assert f'{40 - done} segmented' in start(*command).communicate(timeout=300)[0]


def test_leftovers_of_killed_runs_are_removed_everywhere(work_dir, images, tmp_path):
    out = tmp_path / 'out'
    (out / 'masks').mkdir(parents=True)
    (out / 'overlays').mkdir()
    for name in ('.results.jsonl.9.unfinished', 'masks/.a.png.9.unfinished', 'overlays/.a.jpg.9.unfinished', '.lock'):
        (out / name).write_bytes(b'half')
    assert run(images, '-e', 'ship', '-m', work_dir, '-o', out)[0] == 0
    assert not list(out.rglob('.*'))


# Words, numbers, paths


def test_hostile_words_are_shown_and_kept(work_dir, images, tmp_path):
    ids = ['[red]x[/red]', '[/x]', 'a\nb\x1b[31m', '../../up', ':smile:', 'ü 红', '!;$(x)', '-o']
    lines = [json.dumps({'image': 'images/0.png', 'expression': f'ship {one}', 'id': one}) for one in ids]
    lines += [json.dumps({'image': 'images/[x]\n.png', 'expression': 'ship', 'id': 'gone [/b]'})]
    (tmp_path / 'p.jsonl').write_text('\n'.join(lines))
    out = tmp_path / 'a!b;c [red] {x} #1'
    code, output = run('--pairs', tmp_path / 'p.jsonl', '-m', work_dir, '-o', out)
    assert code == 1
    assert [row['id'] for row in rows_of(out)] == ids
    for row in rows_of(out):
        assert row['expression'] == f'ship {row["id"]}'
        with Image.open(out / row['mask']) as mask:
            assert mask.size == (40, 30)
    told = [line for line in output.splitlines() if line.startswith('failed: ')]
    assert told == [rf'failed: {tmp_path}/images/[x]\n.png is missing; check the path']
    assert f'8 segmented (0 empty), 0 finished before, 1 failed: {out}/results.jsonl' in output


@pytest.mark.parametrize(
    ('option', 'value'),
    [
        ('--min-score', 'nan'), ('--min-score', 'inf'), ('--min-score', '-0.1'), ('--min-score', 'high'),
        ('--batch-size', '0'), ('--batch-size', '1.5'), ('--batch-size', 'nan'),
        ('--box', '1,2,nan,4'), ('--box', '1,2,inf,4'), ('--point', 'nan,1'), ('--point', '1,1e999'),
        ('--point', '1,2,3'),
    ],
)  # fmt: skip
def test_numbers_that_mean_nothing_are_refused_before_the_work(work_dir, images, tmp_path, option, value):
    model = work_dir if option.startswith(('--min', '--batch')) else make_work_dir(tmp_path / 'm', point_prompts=True)
    code, output = run(images / '0.png', '-e', 'ship', '-m', model, '-o', tmp_path / 'out', option, value)
    assert code == 2, output
    assert not (tmp_path / 'out/results.jsonl').exists()
    assert 'Traceback' not in output


@pytest.mark.parametrize('batch_size', ['4', 0, 2.5, float('nan'), float('inf'), None, True])
def test_batch_sizes_in_python(work_dir, images, batch_size):
    with pytest.raises(ConfigError, match=r'batch_size=.*whole number'):
        RS2SAM2Inferencer(work_dir)(images / '0.png', 'ship', batch_size=batch_size)


@pytest.mark.parametrize('min_score', ['0.5', -0.1, 1.5, float('nan'), float('inf'), True, 10**400])
def test_scores_in_python(work_dir, images, min_score):
    with pytest.raises(ConfigError, match=r'min_score=.*from 0 to 1'):
        RS2SAM2Inferencer(work_dir)(images / '0.png', 'ship', min_score=min_score)


def test_numbers_of_numpy_are_numbers(work_dir, images):
    inferencer = RS2SAM2Inferencer(work_dir)
    assert len(inferencer(images / '0.png', 'ship', batch_size=np.int64(2), min_score=np.float32(0.5))) == 1


@pytest.mark.parametrize('prompt', [
    dict(box='1,2,3,4'), dict(box='abcd'), dict(box=[1, 2, '3', 4]), dict(box=[1, 2, None, 4]), dict(box=7),
    dict(box=[1, 2, float('inf'), 4]), dict(box=[True, 0, 3, 3]), dict(point='1,2'), dict(point='12'), dict(point=3),
    dict(point=[None, 1]), dict(point=[float('nan'), 1]), dict(point=[[1, 2], [3, None]]), dict(point=[(1, 2, '1')]),
    dict(point={'x': 1}), dict(point=[10**400, 1]),
])  # fmt: skip
def test_points_and_boxes_in_python(images, tmp_path, prompt):
    inferencer = RS2SAM2Inferencer(make_work_dir(tmp_path / 'm', point_prompts=True))
    with pytest.raises(DataError, match=r'(box|point)=.*inside the image of 40x30'):
        inferencer(images / '0.png', 'ship', **prompt)


def test_points_and_boxes_as_arrays(images, tmp_path):
    inferencer = RS2SAM2Inferencer(make_work_dir(tmp_path / 'm', point_prompts=True))
    image = images / '0.png'
    plain = inferencer(image, 'ship', box=(1, 2, 30, 20), point=[(8, 9), (3, 4, 0)])[0]
    arrays = inferencer(image, 'ship', box=np.array([1, 2, 30, 20]), point=[np.array([8, 9]), np.array([3, 4, 0])])[0]
    np.testing.assert_array_equal(plain.logits, arrays.logits)


@pytest.mark.parametrize('blocked', ['.', 'masks', 'overlays', 'results.jsonl', 'run.json'])
def test_outputs_that_cannot_be_written_are_found_before_the_model(images, tmp_path, blocked):
    out = tmp_path / 'out'
    if blocked in ('results.jsonl', 'run.json'):
        (out / blocked).mkdir(parents=True)
    else:
        out.mkdir(exist_ok=True)
        out.rmdir() if blocked == '.' else None
        (out / blocked if blocked != '.' else out).touch()
    code, output = run(images, '-e', 'ship', '-m', tmp_path / 'no model here', '-o', out)
    assert code == 2
    assert 'cannot be written' in output
    assert 'no model' not in output


@pytest.mark.parametrize(
    ('content', 'match'),
    [
        ('{"image": "a", "expression": "b", "image": "c"}', "the key 'image' is twice in one object"),
        ('{"image": "a", "expression": "b", "id": true}', 'the id True'),
        ('{"image": "a", "expression": "b", "id": 1' + '0' * 5000 + '}', 'is not JSON'),
        ('[' * 100_000, 'is not JSON'),
    ],
)
def test_lists_of_pairs_that_mean_two_things(tmp_path, content, match):
    (tmp_path / 'p.jsonl').write_text(content)
    with pytest.raises(DataError, match=match):
        read_pairs(tmp_path / 'p.jsonl')


def test_a_column_twice_is_refused(tmp_path):
    (tmp_path / 'p.csv').write_text('image,expression,image\na.png,ship,b.png\n')
    with pytest.raises(DataError, match='has the column image twice'):
        read_pairs(tmp_path / 'p.csv')


def test_a_folder_of_other_rows_is_refused(work_dir, images, tmp_path):
    args = (images, '-e', 'ship', '-m', work_dir, '-o', tmp_path / 'out')
    run(*args)
    for line in ('{"sample_id": "1"}', '[1]', '{"id": 1, "image": "a", "expression": "b"}', '{"id": ', '[' * 10**5):
        (tmp_path / 'out/results.jsonl').write_text(line + '\n')
        code, output = run(*args)
        assert (code, output.count('\n')) == (2, 1), output
        assert 'is no output folder of this command' in output


@pytest.mark.parametrize(
    'args',
    [
        ['segment', 'x.png', '-e', 'a', '-m', 'm', '-m', 'n', '-o', 'o'],
        ['segment', 'x.png', '-e', 'a', '-m', 'm', '-o', 'o', '--out', 'p'],
        ['segment', 'x.png', '-e', 'a', '-m', 'm', '-o', 'o', '--overlays', '--no-overlays'],
        ['scene', 'x.tif', '-e', 'a', '-e', 'b', '-m', 'm', '-m', 'n'],
        ['demo', '-m', 'm', '--port', '1', '--port', '2'],
    ],
)
def test_an_option_that_counts_once_is_refused_twice(args):
    code, output = run_command(*args)
    assert code == 2
    assert 'given more than once' in ' '.join(output.split())


# Help, version, and what a model was trained on


@pytest.mark.parametrize('args', [['--version'], ['--help'], ['segment', '--help'], ['scene', '-h'], ['demo', '-h']])
def test_help_and_version_need_no_torch(args):
    script = (
        'import sys; sys.path.insert(0, sys.argv.pop(1)); import rs2sam2_command\n'
        'try: rs2sam2_command.main()\n'
        'except SystemExit as end: assert not end.code\n'
        'heavy = {"torch", "mmengine", "mmseg", "numpy", "PIL", "rs2sam2"} & sys.modules.keys()\n'
        'assert not heavy, heavy'
    )
    command = [sys.executable, '-c', script, ROOT / 'projects', *args]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ('segment' in done.stdout or 'Usage' in done.stdout) == (args != ['--version'])
    assert (done.stdout == f'rs2sam2 {__version__}\n') == (args == ['--version'])


def test_the_console_script_runs_the_command(work_dir, images, tmp_path):
    script = 'import sys; sys.path.insert(0, sys.argv.pop(1)); import rs2sam2_command; rs2sam2_command.main()'
    args = ['segment', images / '0.png', '-e', 'ship', '-m', work_dir, '-o', tmp_path / 'out']
    process = start(sys.executable, '-c', script, ROOT / 'projects', *args)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert '1 segmented' in output


def test_segment_says_what_the_model_was_trained_on(work_dir, images, tmp_path):
    phrase = 'drawn scenes: small pictures drawn by code, no photograph among them'
    code, output = run(images / '0.png', '-e', 'ship', '-m', work_dir, '-o', tmp_path / 'out')
    assert code == 0
    assert f'note: this model was trained on {phrase}; on pictures of another kind its masks mean little\n' in output
    assert json.loads((tmp_path / 'out/run.json').read_text())['trained_on'] == phrase
