"""The measuring tools at tiny size: they run, and their numbers mean what the tables say."""

import runpy
import sys

import pytest
import torch
from torch import nn

from helpers.paths import ROOT
from helpers.training_site import imported
from rs2sam2.engine.measure import count_flops, peak_memory, random_batch, random_model, read_config, sam2_trunk
from rs2sam2.errors import ConfigError


def run_tool(monkeypatch, capsys, name: str, *args: str) -> str:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, 'argv', [name, *args])
    threads = torch.get_num_threads()
    try:
        runpy.run_path(f'tools/analysis_tools/{name}', run_name='__main__')
    finally:
        torch.set_num_threads(threads)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    'args',
    [
        ['--breakdown'],
        ['--mode', 'train'],
        ['--mode', 'backward', '--no-trunk'],
        ['--dtype', 'bf16', '--stored', 'bf16'],
    ],
)
def test_benchmark(monkeypatch, capsys, args):
    out = run_tool(monkeypatch, capsys, 'benchmark.py', '--tiny', '--repeats', '1', *args)
    assert 'rs2sam2_tiny_demo.py' in out
    assert ('plain trunk' in out) == ('--no-trunk' not in args)
    assert ('union_encoder' in out) == ('--breakdown' in args)


def test_benchmark_of_three_configs(monkeypatch, capsys):
    out = run_tool(monkeypatch, capsys, 'benchmark.py', 'first', 'second', 'third', '--tiny', '--repeats', '1')
    assert out.count('rs2sam2_tiny_demo.py') == 3


@pytest.mark.slow
@pytest.mark.ci
def test_benchmark_of_a_model_with_batch_norms(monkeypatch, capsys):
    args = ['configs/rmsin_tiny_demo.py', '--no-trunk', '--repeats', '1']
    assert 'rmsin_tiny_demo.py' in run_tool(monkeypatch, capsys, 'benchmark.py', *args)


@pytest.mark.parametrize(
    ('args', 'message'),
    [(['--no-trunk', '--mode', 'train'], '--batch-size 2'), ([], 'leave the trunk out by --no-trunk')],
)
def test_what_cannot_be_timed_is_one_line(monkeypatch, capsys, args, message):
    with pytest.raises(SystemExit) as stopped:
        run_tool(monkeypatch, capsys, 'benchmark.py', 'configs/rmsin_tiny_demo.py', *args)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_benchmark_of_what_a_user_runs(monkeypatch, capsys):
    out = run_tool(monkeypatch, capsys, 'benchmark_inferencer.py', '--tiny', '--repeats', '1')
    assert 'file to mask, RLE, PNG' in out
    assert 'from start to mask' in out


def test_get_flops(monkeypatch, capsys):
    assert 'whole model' in run_tool(monkeypatch, capsys, 'get_flops.py', '--tiny', '--fold')


@pytest.mark.parametrize('config', ['rmsin_tiny_demo', 'rs2sam2_tiny_demo'])
def test_get_flops_of_a_model_without_the_yardstick(monkeypatch, capsys, config):
    out = run_tool(monkeypatch, capsys, 'get_flops.py', f'configs/{config}.py')
    assert 'whole model' in out
    assert 'no plain trunk beside it' in out
    assert 'x plain trunk' not in out


def test_profile_dataloader(monkeypatch, capsys):
    out = run_tool(monkeypatch, capsys, 'profile_dataloader.py', '--tiny', '--samples', '4', '--workers', '0')
    assert 'ResizeTwoViews' in out
    assert 'through the loader' in out


def test_flops_of_a_product_are_two_a_multiplication():
    layer = nn.Linear(10, 20, device='meta')
    assert count_flops(lambda: layer(torch.empty(3, 10, device='meta')), layer)[''] == 2 * 3 * 10 * 20


def test_flops_by_component_add_up(monkeypatch):
    monkeypatch.chdir(ROOT)
    model = random_model(read_config('', True, None), 'meta').eval()
    batch = random_batch(model, 1, 12, 'meta')
    with torch.no_grad():
        counts = count_flops(lambda: model(batch, mode='tensor'), model)
    parts = ('union_encoder', 'backbone', 'mask_prompt_generator', 'decode_head', 'text_proj', 'sparse_proj')
    assert sum(counts[part] for part in parts) == counts['']


def test_random_model_computes_finite_numbers(monkeypatch):
    monkeypatch.chdir(ROOT)
    model = random_model(read_config('', True, None)).eval()
    with torch.no_grad():
        assert model(random_batch(model, 1, 5), mode='tensor').mask_logits.isfinite().all()


def measure_a_sum() -> None:
    before, peak = peak_memory(lambda: torch.ones(1 << 26).sum(), 'cpu')
    assert 0.8 < (peak - before) / (1 << 28) < 1.3


def test_peak_memory_sees_what_was_freed():
    # In a process of its own: in this one a command may have told the C library to keep memory.
    process = imported().Process(target=measure_a_sum)
    process.start()
    process.join()
    assert process.exitcode == 0


def test_yardstick_that_cannot_be_is_refused(monkeypatch):
    monkeypatch.chdir(ROOT)
    cfg = read_config('', True, {'model.backbone.arch.global_blocks': (1,)})
    with pytest.raises(ConfigError, match='globally'):
        sam2_trunk(cfg)
