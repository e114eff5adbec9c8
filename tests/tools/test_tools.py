"""tools/train.py and tools/test.py as a user runs them, on a few drawn scenes; alone and on two gloo processes."""

import json
import os
import pickle
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch

from helpers.paths import ROOT
from helpers.training_site import run
from rs2sam2.evaluation import results as results_module
from rs2sam2.locks import hold_folder


@pytest.fixture(scope='module')
def trained(site) -> Path:
    """Work dir of one epoch on one process."""
    log = run(ROOT / 'tools/train.py', 'config.py', '--work-dir', 'alone', '--tensorboard', cwd=site)
    assert 'optimizer groups' in log
    assert (site / 'alone/curves.png').stat().st_size > 1000
    return site / 'alone'


def test_train_leaves_checkpoint_best_and_curves(trained):
    assert (trained / 'epoch_1.pth').is_file()
    assert list(trained.glob('best_rrsis_mIoU+oIoU_epoch_*.pth'))
    assert list(trained.rglob('events.out.tfevents*'))
    state = torch.load(trained / 'epoch_1.pth', weights_only=False)['state_dict']
    assert state['decode_head.iou_steps'] == state['decode_head.presence_steps'] > 0


@pytest.mark.slow
@pytest.mark.ci
def test_test_gives_table_results_and_pictures_and_the_same_on_two_processes(site, trained):
    results = {}
    config = (trained / 'config.py').read_text()
    for processes in (0, 2):
        out = site / f'out{processes}'
        # Without --work-dir a test logs in the folder of the training.
        log = run(
            ROOT / 'tools/test.py', 'config.py', trained / 'epoch_1.pth', '--work-dir', trained, '--out', out,
            '--show-dir', out / 'pictures', processes=processes, torchrun=processes > 0, cwd=site,
        )  # fmt: skip
        assert 'mIoU' in log
        results[processes] = [json.loads(line) for line in (out / 'results.jsonl').read_text().splitlines()]
        assert len(list((out / 'pictures').glob('*.jpg'))) == len(results[processes])
    assert (trained / 'config.py').read_text() == config, 'the config of the training stays'
    assert len(results[0]) % 2 or len(results[0]) > 4
    by_id = [{row['sample_id']: row for row in rows} for rows in results.values()]
    assert by_id[0].keys() == by_id[1].keys()
    for name, row in by_id[0].items():
        assert row['pred_iou'] is not None
        assert {k: v for k, v in row.items() if isinstance(v, int)} == {
            k: v for k, v in by_id[1][name].items() if isinstance(v, int)
        }


def test_an_out_that_cannot_be_written_is_found_before_the_batches(site, trained, monkeypatch, capfd):
    """A file in its place, a folder in the file's place, a folder that another test holds."""
    monkeypatch.chdir(site)
    (site / 'taken').write_text('')
    (site / 'deep/results.jsonl').mkdir(parents=True)
    (site / 'held').mkdir()
    for out, words in (
        ('taken', 'taken cannot be written'),
        ('taken/below', 'taken/below cannot be written'),
        ('deep', 'is a folder: choose another --out'),
        ('held', 'held is in use by this very process: choose another --out'),
    ):
        argv = ['test.py', 'config.py', str(trained / 'epoch_1.pth'), '--work-dir', 'tested', '--out', out]
        monkeypatch.setattr(sys, 'argv', [*argv, '--cfg-options', f'experiment_name=out{out.replace("/", "")}'])
        with hold_folder(site / 'held'), pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / 'tools/test.py'), run_name='__main__')
        log = capfd.readouterr()
        assert stopped.value.code == 2
        assert words in log.err
        assert 'Epoch(test)' not in log.out + log.err


def test_metrics_are_shown_before_their_file_is_written(site, trained, monkeypatch, capfd):
    """The disk fills up in between; what a killed test left is removed."""
    monkeypatch.chdir(site)
    (site / 'late').mkdir()
    (site / 'late/.results.jsonl.killed').write_text('{')

    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    argv = ['test.py', 'config.py', str(trained / 'epoch_1.pth'), '--work-dir', 'tested', '--out', 'late']
    monkeypatch.setattr(sys, 'argv', [*argv, '--cfg-options', 'experiment_name=late'])
    monkeypatch.setattr(results_module.os, 'replace', full)
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / 'tools/test.py'), run_name='__main__')
    log = capfd.readouterr()
    assert 'results cannot be written (No space left on device)' in log.err
    assert 'mIoU' in log.out + log.err.split('error: ')[0]
    assert list((site / 'late').iterdir()) == []


@pytest.fixture(scope='module')
def one_update(site):
    """Gradients of one update on the same two samples: AdamW's first moment, which is a tenth of them then."""

    def gradients(name: str, batch_size: int, processes: int = 0, accumulative_counts: int = 1) -> dict:
        options = [
            f'train_dataloader.batch_size={batch_size}', f'optim_wrapper.accumulative_counts={accumulative_counts}',
            'optim_wrapper.clip_grad=None', 'train_dataloader.dataset.indices=2',
            'train_dataloader.sampler.shuffle=False', 'val_dataloader=None', 'val_evaluator=None', 'val_cfg=None',
            'custom_hooks=[]', 'default_hooks.checkpoint.save_best=None',
        ]  # fmt: skip
        run(
            ROOT / 'tools/train.py', 'config.py', '--work-dir', name, '--cfg-options', *options, processes=processes,
            cwd=site,
        )  # fmt: skip
        state = torch.load(site / name / 'epoch_1.pth', weights_only=False)['optimizer']['state']
        assert all(one['step'] == 1 for one in state.values())
        return {index: one['exp_avg'] * 10 for index, one in state.items()}

    return gradients


@pytest.fixture(scope='module')
def batch_of_two(one_update) -> dict:
    return one_update('whole', batch_size=2)


@pytest.mark.parametrize('how', [dict(processes=2), dict(accumulative_counts=2)], ids=['2 processes', '2 steps'])
def test_gradients_are_those_of_one_batch_of_two(one_update, batch_of_two, how):
    gradients = one_update('_'.join(how), batch_size=1, **how)
    assert gradients.keys() == batch_of_two.keys()
    assert len(gradients) > 100
    largest = max(gradient.abs().max() for gradient in batch_of_two.values())
    for index, gradient in gradients.items():
        wrong = (gradient - batch_of_two[index]).abs().max()
        assert wrong <= 1e-6 * largest, (index, wrong, largest)
    assert sum(gradient.abs().max() > 1e-3 * largest for gradient in gradients.values()) > 50


def bad(site: Path, change, monkeypatch, capfd) -> str:
    """Break a copy of the site and train on it, in this process; returns the one line of the error."""
    copy = site.parent / f'{site.name}-broken'
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(site / 'data', copy / 'data')
    text = (site / 'config.py').read_text().replace(f'{site}/data', f'{copy}/data')
    (copy / 'config.py').write_text(change(copy, text) or text)
    monkeypatch.chdir(copy)
    # Runs of the same second and name would share mmengine's visualizer.
    name = f'experiment_name={change.__name__}'
    monkeypatch.setattr(sys, 'argv', ['train.py', 'config.py', '--work-dir', 'out', '--cfg-options', name])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')
    assert stopped.value.code == 2
    log = capfd.readouterr().err
    lines = [line for line in log.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, log
    assert 'Traceback' not in log
    return lines[0]


def edit_refs(copy: Path, edit) -> None:
    path = copy / 'data/rrsisd/refs(unc).p'
    refs = pickle.loads(path.read_bytes())
    edit(refs)
    path.write_bytes(pickle.dumps(refs))


def first_train_sentence(refs) -> dict:
    return next(ref for ref in refs if ref['split'] == 'train' and not ref.get('no_target'))['sentences'][0]


class Attack:
    def __reduce__(self):
        return os.system, ('touch owned',)


def no_data(copy, text):
    return text.replace("'data_root': '", "'data_root': 'nowhere")


def not_a_pickle(copy, text):
    (copy / 'data/rrsisd/refs(unc).p').write_text('hello')


def code_in_pickle(copy, text):
    (copy / 'data/rrsisd/refs(unc).p').write_bytes(pickle.dumps([Attack()]))


def ref_without_annotation(copy, text):
    edit_refs(copy, lambda refs: refs[0].update(ann_id=10**6))


def wrong_size_rle(copy, text):
    path = copy / 'data/rrsisd/instances.json'
    content = json.loads(path.read_text())
    for annotation in content['annotations']:
        annotation['segmentation'][0]['size'] = [50, 50]
    path.write_text(json.dumps(content))


def truncated_image(copy, text):
    for path in (copy / 'data/images/rrsisd/JPEGImages').glob('*.jpg'):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty_expression(copy, text):
    edit_refs(copy, lambda refs: first_train_sentence(refs).update(sent='  '))


def long_expression(copy, text):
    edit_refs(copy, lambda refs: [one.update(sent='ship ' * 80) for ref in refs for one in ref['sentences']])


def no_custom_imports(copy, text):
    return text + "custom_imports = dict(imports=['torch'], allow_failed_imports=False)\n"


def no_tokenizer(copy, text):
    shutil.rmtree(copy / 'data/tokenizer')


def other_vocabulary(copy, text):
    return re.sub(r"'num_pieces': 165", "'num_pieces': 64000", text)


def fewer_than_a_batch(copy, text):
    return text.replace('train_dataloader = dict(batch_size=2', 'train_dataloader = dict(batch_size=500')


def fewer_than_a_batch_by_iterations(copy, text):
    loop = "train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=2)\n"
    return fewer_than_a_batch(copy, text) + loop


def no_validation_batch(copy, text):
    return text.replace('val_dataloader = dict(batch_size=2', 'val_dataloader = dict(drop_last=True, batch_size=500')


def unknown_argument(copy, text):
    return text + 'model.update(decode_hed=3)\n'


def unknown_argument_of_a_parent(copy, text):
    return text + "val_evaluator = dict(type='GeneralizedRRSISMetric', protocoll='native')\n"


def unknown_argument_of_a_loader(copy, text):
    return text.replace('train_dataloader = dict(batch_size', 'train_dataloader = dict(batchsize=2, batch_size')


def unknown_type(copy, text):
    return text + "model.update(type='RS2SAM')\n"


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (fewer_than_a_batch, ["split 'train'", 'has no batch', 'batch_size=500', 'drop_last=False']),
        (fewer_than_a_batch_by_iterations, ["split 'train'", 'has no batch', 'batch_size=500', 'drop_last=False']),
        (no_validation_batch, ["split 'val'", 'has no batch', 'drop_last=False']),
        (unknown_argument, ['RS2SAM2', 'decode_hed']),
        (unknown_argument_of_a_parent, ['RRSISMetric', 'protocoll']),
        (unknown_argument_of_a_loader, ['train_dataloader has no batchsize', 'did you mean batch_size?']),
        (unknown_type, ['type RS2SAM,', 'did you mean RS2SAM2?', 'custom_imports']),
        (no_data, ['data_root', 'nowhere', 'is not a folder']),
        (not_a_pickle, ['refs(unc).p', 'pickle']),
        (code_in_pickle, ['refs(unc).p', 'system']),
        (ref_without_annotation, ['instances.json', '1000000']),
        (wrong_size_rle, ['size']),
        (truncated_image, ['.jpg']),
        (empty_expression, ['refs(unc).p', 'empty expression']),
        (long_expression, ['tokens', '62']),
        (no_custom_imports, ['config.py', 'custom_imports = dict(']),
        (no_tokenizer, ['tokenizer']),
        (other_vocabulary, ['165', '64000']),
    ],
)
def test_bad_input_gets_one_line(site, change, words, monkeypatch, capfd):
    line = bad(site, change, monkeypatch, capfd)
    assert all(word in line for word in words), line
    assert not (site.parent / f'{site.name}-broken/owned').exists()


def test_missing_config_gets_one_line(site):
    log = run(ROOT / 'tools/train.py', 'nowhere.py', cwd=site, expect=2)
    assert 'error: nowhere.py: no such config file' in log
