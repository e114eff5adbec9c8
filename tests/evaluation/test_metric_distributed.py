"""1, 2 and 3 processes give identical numbers, whatever the length of the data set."""

from pathlib import Path

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData

from helpers.processes import in_processes
from rs2sam2.evaluation.results import read_results
from rs2sam2.evaluation.rrsis_metric import RRSISMetric
from rs2sam2.structures import RefSegDataSample

LENGTHS = (7, 5, 1)
"""No world size divides the first two; the last is shorter than both."""


def sample(index: int) -> RefSegDataSample:
    generator = torch.Generator().manual_seed(index)
    data = RefSegDataSample()
    data.set_metainfo({'sample_id': str(index), 'img_path': f'{index}.png', 'expression': 'A ship', 'category': 'ship'})
    data.gt_sem_seg = PixelData(data=torch.randint(0, 2, (1, 9 + index, 11), generator=generator, dtype=torch.uint8))
    data.seg_logits = PixelData(data=torch.randn(1, 8, 8, generator=generator) + index / 3 - 1)
    return data


def evaluate(folder: Path, length: int, collect_device: str, batch_size: int) -> dict:
    """What MMEngine's test loop does in each process."""
    metric = RRSISMetric(
        protocol=33,
        results_file=str(folder / f'{length}_{collect_device}.jsonl'),
        collect_device=collect_device,
        collect_dir=str(folder / 'parts') if collect_device == 'cpu' else None,
    )
    evaluator = Evaluator(metric)
    indices = list(DefaultSampler(range(length), shuffle=False))
    for start in range(0, len(indices), batch_size):
        evaluator.process([sample(index) for index in indices[start : start + batch_size]])
    return evaluator.evaluate(length)


def evaluate_all(rank: int, folder: str) -> dict[str, dict]:
    """Every length in both ways of collecting."""
    return {
        f'{length} {device}': evaluate(Path(folder), length, device, batch_size=2)
        for length in LENGTHS
        for device in ('gpu', 'cpu')
    }


@pytest.mark.parametrize('world_size', [2, 3])
def test_world_size_changes_nothing(world_size, tmp_path):
    single = tmp_path / 'single'
    expected = {length: evaluate(single, length, 'gpu', batch_size=3) for length in LENGTHS}
    folder = tmp_path / 'many'
    folder.mkdir()
    for found in in_processes(evaluate_all, world_size, folder, str(folder)):
        for length in LENGTHS:
            for device in ('gpu', 'cpu'):
                assert found[f'{length} {device}'] == expected[length]
    for length in LENGTHS:
        rows = read_results(single / f'{length}_gpu.jsonl')
        assert [row.sample_id for row in rows] == [str(index) for index in range(length)]
        assert read_results(folder / f'{length}_gpu.jsonl') == rows
        assert read_results(folder / f'{length}_cpu.jsonl') == rows
    assert expected[7]['rrsis/mIoU'] > 10
