"""Two runs side by side: pairing, paired intervals against a direct bootstrap, the tool."""

import re
import runpy
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers.paths import ROOT
from rs2sam2.datasets.masks import encode_mask
from rs2sam2.errors import DataError
from rs2sam2.evaluation.compare import comparison_by_group, comparison_table, largest_changes, pair_results
from rs2sam2.evaluation.results import (
    SampleResult,
    bootstrap_interval,
    paired_interval,
    read_results,
    summarise,
    write_results,
)
from rs2sam2.visualization.figure import GAP, MARGIN
from rs2sam2.visualization.overlay import MISSED


def run_of(seed, count=60, shift=0, images=20):
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        union = int(rng.integers(50, 100))
        inter = min(union, int(rng.integers(0, 50)) + shift)
        rows.append(
            SampleResult(
                sample_id=f's{index}',
                img_path=f'/data/{index % images}.jpg',
                expression=f'ship {index}',
                category=('ship', 'dam')[index % 2],
                no_target=False,
                protocol='native',
                intersection=inter,
                union=union,
                iou=inter / union,
                target_share=(0.005, 0.05, 0.5)[index % 3],
            )
        )
    return rows


def numbers(line):
    return [float(number) for number in re.findall(r'[-+]?\d+\.\d+', line)]


def test_paired_interval_against_a_direct_bootstrap():
    first, second = run_of(0), run_of(0, shift=5)
    for statistic in ('mIoU', 'oIoU', 'Pr@0.5'):
        rng = np.random.default_rng(7)
        differences = []
        for _ in range(2000):
            drawn = rng.integers(0, 20, 20)
            picked = [[row for image in drawn for row in rows[image::20]] for rows in (first, second)]
            differences.append(summarise(picked[1])[statistic] - summarise(picked[0])[statistic])
        expected = np.quantile(differences, [0.025, 0.975])
        got = paired_interval(first, second, statistic, samples=4000)
        np.testing.assert_allclose(got, expected, atol=0.12 * (expected[1] - expected[0]) + 0.05)


def test_pairing_narrows_the_interval():
    first, second = run_of(1), run_of(1, shift=4)
    paired = np.diff(paired_interval(first, second, 'mIoU'))[0]
    alone = np.diff(bootstrap_interval(first, 'mIoU'))[0]
    assert paired < 0.25 * alone
    assert paired_interval(first, first, 'mIoU') == (0.0, 0.0)


def test_order_and_paths_do_not_matter():
    first = run_of(2)
    second = [replace(row, img_path=f'/elsewhere{row.img_path}') for row in run_of(3)][::-1]
    a, b = pair_results(first, second, ('a', 'b'))
    assert [row.sample_id for row in a] == [row.sample_id for row in b]
    forward = paired_interval(a, b, 'mIoU')
    assert paired_interval(b, a, 'mIoU') == pytest.approx((-forward[1], -forward[0]))


def test_tables():
    first, second = run_of(4), run_of(4, shift=10)
    table = comparison_table(first, second, ('old', 'new'), 200)
    line = next(line for line in table.splitlines() if line.startswith('| mIoU'))
    values = numbers(line)
    expected = [summarise(rows)['mIoU'] for rows in (first, second)]
    assert values[:3] == pytest.approx([*expected, expected[1] - expected[0]], abs=0.006)
    assert values[3] <= values[2] <= values[4]
    by_size = comparison_by_group(first, second, ('old', 'new'), 'size', 200)
    rows = [line for line in by_size.splitlines() if re.match(r'\| (small|medium|large)', line)]
    assert [re.search(r'\| +(\d+) \|', row)[1] for row in rows] == ['20', '20', '20']
    assert (
        len(
            [
                line
                for line in comparison_by_group(first, second, ('o', 'n'), 'category', 9).splitlines()
                if 'dam' in line
            ]
        )
        == 1
    )


def test_largest_changes():
    first = run_of(5, count=4)
    second = [replace(row, iou=value) for row, value in zip(first, (0.9, 0.0, first[2].iou, 0.95), strict=True)]
    wins, losses = largest_changes(first, second, 3)
    assert {pair[0].sample_id for pair in wins} >= {'s0', 's3'}
    assert [pair[0].sample_id for pair in losses] == ['s1']


def test_other_samples_are_refused():
    first = run_of(6)
    for second, message in (
        (first[1:], "a has 60 samples, b 59, and 1 are in only one .'s0'.; test both"),
        ([replace(row, protocol='published_1024') for row in first], 'protocol native, b by published_1024'),
        ([replace(row, expression='x') for row in first], "sample 's0' says 'ship 0' in a, 'x' in b"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            pair_results(first, second, ('a', 'b'))
        assert '\n' not in str(caught.value)
    with pytest.raises(DataError, match='not on the same samples'):
        paired_interval(first, first[::-1], 'mIoU')


def tool(monkeypatch, *args):
    monkeypatch.setattr(sys, 'argv', ['compare.py', *map(str, args)])
    runpy.run_path(str(ROOT / 'tools/analysis_tools/compare.py'), run_name='__main__')


def with_masks(rows, folder, seed):
    """The rows with images of 30 x 20 in a folder, masks that have their IoU, and a ground truth."""
    rng = np.random.default_rng(seed)
    target = np.zeros((20, 30), bool)
    target[5:15, 5:25] = True
    made = []
    for row in rows:
        image = folder / row.img_path.split('/')[-1]
        if not image.exists():
            Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)).save(image)
        mask = target & (np.arange(30) < rng.integers(5, 26))
        inter, union = int((mask & target).sum()), int((mask | target).sum())
        made.append(
            replace(
                row,
                img_path=str(image),
                intersection=inter,
                union=union,
                iou=inter / union,
                mask=encode_mask(mask),
                target=encode_mask(target),
            )
        )
    return made


def refused(monkeypatch, capsys, message, *args):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        tool(monkeypatch, *args, '--samples', 9)
    assert stopped.value.code == 2
    assert re.fullmatch(f'error: .*{message}.*\n', capsys.readouterr().err)


@pytest.fixture
def three(tmp_path):
    for seed, name in enumerate(('old', 'new', 'other')):
        write_results(with_masks(run_of(seed), tmp_path, seed), tmp_path / name / 'results.jsonl')
    return [tmp_path / name / 'results.jsonl' for name in ('old', 'new', 'other')]


def test_tool_on_two_runs(tmp_path, three, monkeypatch, capsys):
    tool(monkeypatch, *three[:2], '--samples', 50, '--out', tmp_path / 'images')
    printed = capsys.readouterr().out
    assert re.search(r'\| +\| +old \| +new \| +difference', printed)
    assert 'largest wins of new' in printed
    assert {path.name for path in (tmp_path / 'images').iterdir()} == {'wins.png', 'losses.png'}


def picture_size(path):
    with Image.open(path) as picture:
        return picture.size


def test_tool_on_three_runs(tmp_path, three, monkeypatch, capsys):
    tool(monkeypatch, *three, '--samples', 50, '--out', tmp_path / 'three', '--number', 2, '--names', 'A', 'B', 'C')
    printed = capsys.readouterr().out
    assert re.search(r'\| +\| +mIoU \| +95 % \| +to A \|', printed)
    assert re.search(r'\| category +\| +n \| +A \| +B \| +C \|', printed)
    shown = printed.split('disagreements')[1].splitlines()[1:3]
    runs = [read_results(path) for path in three]
    apart = {}
    for rows in zip(*runs, strict=True):
        ious = [row.iou for row in rows]
        apart[rows[0].img_path] = max(max(ious) - min(ious), apart.get(rows[0].img_path, 0))
    for line, expected in zip(shown, sorted(apart.values())[:-3:-1], strict=True):
        ious = [float(value) for value in re.findall(r'[ABC] (\d\.\d\d)', line)]
        assert max(ious) - min(ious) == pytest.approx(expected, abs=0.011)
    few_width, few_height = picture_size(tmp_path / 'three/disagreements.png')
    tool(monkeypatch, *three, '--samples', 9, '--out', tmp_path / 'one', '--category', 'dam', '--id', 's1')
    printed = capsys.readouterr().out
    assert '30 samples' in printed
    assert re.search(r'old 0\.\d\d  new 0\.\d\d  other 0\.\d\d  s1  ship 1', printed)
    width, height = picture_size(tmp_path / 'one/samples.png')
    assert width == few_width
    assert 2 * height + 8 == few_height


def test_a_picture_shows_the_errors_of_each_model(tmp_path, three, monkeypatch):
    tool(monkeypatch, *three, '--samples', 9, '--out', tmp_path / 'one', '--id', 's1')
    pixels = np.asarray(Image.open(tmp_path / 'one/samples.png')).astype(int)
    # From the left: image, ground truth, three models; each panel is PANEL wide, GAP apart.
    columns = [pixels[:, MARGIN + k * (230 + GAP) : MARGIN + k * (230 + GAP) + 230] for k in range(5)]
    missed = [(np.abs(column - MISSED).sum(-1) == 0).any() for column in columns]
    ious = [read_results(path)[1].iou for path in three]
    assert missed == [False, False, *(iou < 1 for iou in ious)]


@pytest.mark.parametrize(
    ('files', 'names'),
    [
        (['a/x/results.jsonl', 'b/x/results.jsonl'], ['a/x', 'b/x']),
        (['runs/before.jsonl', 'runs/after.jsonl'], ['before', 'after']),
        (['runs/x.jsonl', 'runs/x.jsonl'], ['1 runs', '2 runs']),
    ],
)
def test_runs_are_called_by_what_tells_them_apart(files, names):
    assert runpy.run_path(str(ROOT / 'tools/analysis_tools/compare.py'))['folder_names'](files) == names


def test_what_cannot_be_compared_is_one_line(tmp_path, three, monkeypatch, capsys):
    plain = [replace(row, mask=None) for row in read_results(three[0])]
    write_results(plain, tmp_path / 'plain' / 'results.jsonl')
    for message, *args in (
        ('results cannot be read', three[0], tmp_path / 'none.jsonl'),
        ('two or more files', three[0]),
        ('--names gives 1 different names for 2', *three[:2], '--names', 'A', 'A'),
        ("no sample has the category 'car'; there are dam, ship", *three, '--category', 'car'),
        ("no sample is called 'x'", *three, '--id', 'x'),
        ('was written without masks', three[1], tmp_path / 'plain/results.jsonl', '--out', tmp_path / 'x'),
    ):
        refused(monkeypatch, capsys, message, *args)
