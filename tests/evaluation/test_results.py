"""Per-sample results: their file, and the bootstrap intervals from them."""

import json
import os
from dataclasses import asdict, replace

import numpy as np
import pytest

from rs2sam2.errors import ConfigError, DataError
from rs2sam2.evaluation.results import (
    SampleResult,
    bootstrap_interval,
    read_results,
    summarise,
    write_results,
)


def row(index: int, intersection: int, union: int, image: str | None = None, **fields) -> SampleResult:
    return SampleResult(
        sample_id=str(index),
        img_path=image,
        expression='ship «左» \n "on" the left',
        category=None,
        no_target=False,
        protocol='native',
        intersection=intersection,
        union=union,
        iou=intersection / union if union else 0.0,
        target_share=0.1,
        **fields,
    )


def test_round_trip(tmp_path):
    rows = [row(0, 1, 3, pred_iou=1 / 3), row(1, 0, 0, 'a.png', presence=1e-9), row(2, 7, 7)]
    path = tmp_path / 'deep' / 'results.jsonl'
    write_results(rows, path)
    assert read_results(path) == rows
    assert len(path.read_text(encoding='utf-8').splitlines()) == 3
    write_results(rows[:1], path)
    assert read_results(path) == rows[:1]
    assert os.listdir(path.parent) == ['results.jsonl']


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / 'results.jsonl'
    write_results([row(0, 1, 2)], path)

    def broken():
        yield row(1, 1, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_results(broken(), path)
    assert read_results(path) == [row(0, 1, 2)]
    assert os.listdir(tmp_path) == ['results.jsonl']
    (tmp_path / 'file').touch()
    with pytest.raises(DataError, match='cannot be written'):
        write_results([row(0, 1, 2)], tmp_path / 'file' / 'results.jsonl')


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ('{"a": ', 'not JSON'),
        ('[1]', 'not a JSON object'),
        ({'union': None}, '`union` is None, not int'),
        ({'union': True}, '`union` is True, not int'),
        ({'iou': 'x'}, "`iou` is 'x', not float"),
        ({'pred_iou': float('nan')}, 'NaN is no number'),
        ({'expression': ...}, '`expression` is missing'),
        ({'colour': 1}, 'unknown field `colour`'),
        ({'intersection': 9}, 'an intersection of 9 pixels in a union of 4'),
        ({'iou': 0.3}, '`iou` is 0.3'),
        ({'sample_id': '0'}, "sample id '0' occurs twice"),
    ],
)
def test_bad_lines_are_named(tmp_path, change, text):
    good = asdict(row(0, 1, 4))
    bad = change
    if isinstance(change, dict):
        bad = {key: value for key, value in (asdict(row(1, 1, 4)) | change).items() if value is not ...}
        bad = json.dumps(bad)
    path = tmp_path / 'results.jsonl'
    path.write_text(json.dumps(good) + '\n' + bad + '\n')
    with pytest.raises(DataError, match=r'^[^\n]*$') as error:
        read_results(path)
    assert text in str(error.value)
    assert str(error.value).startswith(f'{path}:' if 'twice' in text else f'{path}:2: ')


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(DataError, match='cannot be read'):
        read_results(tmp_path / 'none.jsonl')
    (tmp_path / 'empty.jsonl').touch()
    with pytest.raises(DataError, match='no results in it'):
        read_results(tmp_path / 'empty.jsonl')


def test_summary():
    summary = summarise([row(0, 1, 2), row(1, 90, 100), row(2, 0, 0), row(3, 0, 8)])
    assert summary == {
        'Pr@0.5': 50.0, 'Pr@0.6': 25.0, 'Pr@0.7': 25.0, 'Pr@0.8': 25.0, 'Pr@0.9': 25.0,
        'oIoU': 100 * 91 / 110, 'mIoU': pytest.approx(35.0),
    }  # fmt: skip


def test_interval_covers_the_truth():
    """Of 200 draws from a known distribution, about 95 % of the intervals hold the true mean."""
    rng = np.random.default_rng(1)
    hits = {'mIoU': 0, 'oIoU': 0}
    true = {'mIoU': 100 * 0.5, 'oIoU': 100 * 0.5}
    for trial in range(200):
        unions = rng.integers(50, 400, 60)
        rows = [row(i, int(rng.integers(0, u + 1)), int(u)) for i, u in enumerate(unions)]
        for name in hits:
            low, high = bootstrap_interval(rows, name, samples=200, seed=trial)
            hits[name] += low <= true[name] <= high
            assert low <= summarise(rows)[name] <= high
    assert 180 <= hits['mIoU'] <= 199
    assert 180 <= hits['oIoU'] <= 199


def test_interval_agrees_with_the_normal_one_and_is_repeatable():
    rng = np.random.default_rng(0)
    rows = [row(i, int(n), 100) for i, n in enumerate(rng.integers(0, 101, 400))]
    low, high = bootstrap_interval(rows, 'mIoU', samples=4000)
    values = np.array([r.iou for r in rows])
    half = 1.96 * 100 * values.std() / 20
    assert (low, high) == (
        pytest.approx(100 * values.mean() - half, abs=0.15),
        pytest.approx(100 * values.mean() + half, abs=0.15),
    )
    assert bootstrap_interval(rows, 'mIoU', samples=4000) == (low, high)
    assert bootstrap_interval(rows, 'mIoU', samples=4000, seed=1) != (low, high)
    narrow = bootstrap_interval(rows, 'mIoU', level=0.5)
    assert low < narrow[0] < narrow[1] < high
    # Unions are all equal, so both are the same mean.
    assert bootstrap_interval(rows, 'oIoU') == pytest.approx(bootstrap_interval(rows, 'mIoU'))


def test_sentences_of_one_image_are_drawn_together():
    rng = np.random.default_rng(3)
    rows = [row(i, int(n), 100, image=f'{i}.png') for i, n in enumerate(rng.integers(0, 101, 50))]
    low, high = bootstrap_interval(rows, 'mIoU')
    # Four equal sentences an image carry no more information than one.
    copies = [replace(r, sample_id=f'{r.sample_id} {k}') for r in rows for k in range(4)]
    assert bootstrap_interval(copies, 'mIoU') == pytest.approx((low, high))
    apart = [replace(r, img_path=None) for r in copies]
    inner = bootstrap_interval(apart, 'mIoU')
    assert (inner[1] - inner[0]) < 0.7 * (high - low)


def test_empty_unions_and_unknown_statistics():
    assert bootstrap_interval([row(0, 0, 0), row(1, 0, 0)], 'oIoU') == (0.0, 0.0)
    assert summarise([row(0, 0, 0)])['oIoU'] == 0.0
    with pytest.raises(ConfigError, match="no metric is called 'xIoU'"):
        bootstrap_interval([row(0, 1, 2)], 'xIoU')
