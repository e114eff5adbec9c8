"""Two runs side by side: pairing, paired intervals against a direct bootstrap, the tool."""

import re
import runpy
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers.paths import ROOT
from rs2sam2.errors import DataError
from rs2sam2.evaluation.compare import comparison_by_group, comparison_table, largest_changes, pair_results
from rs2sam2.evaluation.results import SampleResult, bootstrap_interval, paired_interval, summarise, write_results


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


def test_tool(tmp_path, monkeypatch, capsys):
    for index in range(20):
        Image.new('RGB', (30, 20), (index, 90, 90)).save(tmp_path / f'{index}.jpg')
    runs = run_of(7), run_of(8)
    for name, rows in zip(('old', 'new'), runs, strict=True):
        rows = [replace(row, img_path=f'{tmp_path}/{row.img_path.split("/")[-1]}') for row in rows]
        write_results(rows, tmp_path / name / 'results.jsonl')
        (tmp_path / name / 'pictures').mkdir()
        for row in rows:
            Image.new('RGB', (60, 20), (9, 9, 200)).save(tmp_path / name / 'pictures' / f'{row.sample_id}.jpg')
    files = [tmp_path / name / 'results.jsonl' for name in ('old', 'new')]
    tool(monkeypatch, *files, '--samples', 50, '--out', tmp_path / 'images')
    printed = capsys.readouterr().out
    assert re.search(r'\| +\| +old \| +new \| +difference', printed)
    assert 'largest wins of new' in printed
    plain = Image.open(tmp_path / 'images/wins.png').size
    folders = [tmp_path / name / 'pictures' for name in ('old', 'new')]
    tool(monkeypatch, *files, '--samples', 50, '--out', tmp_path / 'both', '--pictures', *folders, '--names', 'A', 'B')
    assert Image.open(tmp_path / 'both/losses.png').size != plain
    for args, message in (
        ((files[0], tmp_path / 'none.jsonl'), 'results cannot be read'),
        ((*files, '--pictures', *folders), '--pictures needs --out'),
        (
            (*files, '--out', tmp_path / 'x', '--pictures', tmp_path, tmp_path),
            r'\.jpg is missing; test with --show-dir',
        ),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            tool(monkeypatch, *args, '--samples', 9)
        assert stopped.value.code == 2
        assert re.fullmatch(f'error: .*{message}.*\n', capsys.readouterr().err)
