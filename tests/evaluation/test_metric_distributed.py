"""1, 2 and 3 processes give identical numbers, whatever the length of the data set."""

import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData

from helpers.training_site import imported
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


def worker(rank: int, world_size: int, folder: str) -> None:
    torch.set_num_threads(1)
    path = Path(folder)
    dist.init_process_group('gloo', init_method=f'file://{path}/rendezvous', rank=rank, world_size=world_size)
    found = {
        f'{length} {device}': evaluate(path, length, device, batch_size=2)
        for length in LENGTHS
        for device in ('gpu', 'cpu')
    }
    (path / f'rank{rank}.json').write_text(json.dumps(found))
    dist.destroy_process_group()


@pytest.mark.parametrize('world_size', [2, 3])
def test_world_size_changes_nothing(world_size, tmp_path):
    single = tmp_path / 'single'
    expected = {length: evaluate(single, length, 'gpu', batch_size=3) for length in LENGTHS}
    folder = tmp_path / 'many'
    folder.mkdir()
    imported()
    mp.start_processes(worker, (world_size, str(folder)), world_size, start_method='forkserver')
    for rank in range(world_size):
        found = json.loads((folder / f'rank{rank}.json').read_text())
        for length in LENGTHS:
            for device in ('gpu', 'cpu'):
                assert found[f'{length} {device}'] == expected[length]
    for length in LENGTHS:
        rows = read_results(single / f'{length}_gpu.jsonl')
        assert [row.sample_id for row in rows] == [str(index) for index in range(length)]
        assert read_results(folder / f'{length}_gpu.jsonl') == rows
        assert read_results(folder / f'{length}_cpu.jsonl') == rows
    assert expected[7]['rrsis/mIoU'] > 10
