"""Scripts around the tools: what the Slurm ones ask `srun` for, what `collect_env.py` reports."""

import os
import runpy
import shutil
import subprocess

import pytest
import torch

from helpers.paths import ROOT

TRAIN = ['tools/slurm_train.sh', 'part', 'job', 'configs/a.py']
TEST = ['tools/slurm_test.sh', 'part', 'job', 'configs/a.py', 'best one.pth']


@pytest.fixture
def run(tmp_path):
    """Run a script with a fake `srun` that writes down its arguments; returns them, or the error."""
    (tmp_path / 'srun').write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$RECORD"\n')
    (tmp_path / 'srun').chmod(0o755)

    def run(command, **env):
        env = dict(os.environ, PATH=f'{tmp_path}:{os.environ["PATH"]}', RECORD=str(tmp_path / 'record'), **env)
        done = subprocess.run([ROOT / command[0], *command[1:]], env=env, capture_output=True, text=True)
        return (tmp_path / 'record').read_text().splitlines() if done.returncode == 0 else done.stderr

    return run


@pytest.mark.parametrize('name', ['dist_train', 'dist_test', 'slurm_train', 'slurm_test'])
def test_scripts_are_valid_and_say_how_they_are_used(name):
    script = ROOT / f'tools/{name}.sh'
    assert os.access(script, os.X_OK)
    assert subprocess.run(['bash', '-n', script]).returncode == 0
    done = subprocess.run([script], capture_output=True, text=True)
    assert done.returncode != 0
    assert f'usage: tools/{name}.sh' in done.stderr


@pytest.mark.parametrize(('command', 'tool'), [(TRAIN, 'train'), (TEST, 'test')])
def test_slurm(run, command, tool):
    given = run([*command, '--cfg-options', 'a=1 2'])
    assert given[:7] == [
        '--partition=part', '--job-name=job', '--gres=gpu:8', '--ntasks=8', '--ntasks-per-node=8', '--cpus-per-task=5',
        '--kill-on-bad-exit=1',
    ]  # fmt: skip
    assert given[7:9] == ['python', '-u']
    assert given[9] == str(ROOT / f'tools/{tool}.py')
    assert given[10:] == [*command[3:], '--launcher', 'slurm', '--cfg-options', 'a=1 2']
    fewer = run(command, GPUS='4', CPUS_PER_TASK='2', SRUN_ARGS='--quotatype=auto --mem 10G')
    assert fewer[2:6] == ['--gres=gpu:4', '--ntasks=4', '--ntasks-per-node=4', '--cpus-per-task=2']
    assert fewer[7:10] == ['--quotatype=auto', '--mem', '10G']
    more = run(command, GPUS='16', GPUS_PER_NODE='4')
    assert more[2:5] == ['--gres=gpu:4', '--ntasks=16', '--ntasks-per-node=4']
    assert 'usage: tools/slurm' in run(command[:-1])


@pytest.mark.skipif(shutil.which('srun') is not None, reason='a Slurm is here')
def test_without_slurm_the_shell_says_so():
    done = subprocess.run([ROOT / TRAIN[0], *TRAIN[1:]], capture_output=True, text=True)
    assert done.returncode == 127
    assert 'srun' in done.stderr


def test_collect_env(capsys):
    module = runpy.run_path(str(ROOT / 'tools/misc/collect_env.py'))
    module['main']()
    facts = dict(line.split(': ', 1) for line in capsys.readouterr().out.splitlines() if ': ' in line)
    assert facts['PyTorch'] == torch.__version__
    assert '(onedl-mmsegmentation)' in facts['mmseg'] or '(mmsegmentation)' in facts['mmseg']
    for name in ('mmcv', 'sam2', 'transformers', 'safetensors', 'rs2sam2'):
        assert facts[name][0].isdigit()
    head = subprocess.run(['git', '-C', ROOT, 'rev-parse', 'HEAD'], capture_output=True, text=True)
    if head.returncode == 0:
        assert facts['rs2sam2 commit'].startswith(head.stdout.strip()[:12])


def test_a_folder_in_a_repository_that_does_not_know_it_has_no_commit(tmp_path):
    module = runpy.run_path(str(ROOT / 'tools/misc/collect_env.py'))
    subprocess.run(['git', 'init', '-q', tmp_path], check=True)
    (tmp_path / '__init__.py').write_text('')
    assert module['commit_of'](tmp_path) == 'no git checkout'
    assert module['installed']('no_such_package', {}) == 'not installed'
