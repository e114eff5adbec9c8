"""Text on the terminal, errors as one line, signals, and the lock of an output folder."""

import atexit
import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch.distributed as dist
from rich.table import Table
from torch.utils.data import DataLoader

from helpers.training_site import imported
from rs2sam2.engine.launch import one_line_errors
from rs2sam2.errors import DataError, OutputError, RefSegError
from rs2sam2.evaluation.tables import plain_table
from rs2sam2.locks import LOCK, hold_folder, make_writable
from rs2sam2.terminal import counted, plain, plain_console

HOSTILE = 'a [red]b[/red] [/x] c\nd\re\x1b[31mf\x07 \u202eg\udcff \u2028h :smile:'
SHOWN = r'a [red]b[/red] [/x] c\nd\re\x1b[31mf\x07 \u202eg\udcff \u2028h :smile:'


def test_hostile_text_is_one_visible_line():
    assert plain(HOSTILE) == SHOWN
    assert plain(plain(HOSTILE)) == SHOWN
    for text in ('红色 的 船', 'é “x” …', 'می‌خواهم', 'क्‍ष', '🛩', 'a\u00a0b\u3000c', 'C:\\new\\table'):
        assert plain(text) == text
    assert plain(Path('/a/b')) == '/a/b'


def test_a_command_keeps_its_imports_out_of_the_search_for_garbage():
    gc.unfreeze()
    try:
        with one_line_errors():
            kept = gc.get_freeze_count()
            more = [[] for _ in range(1000)]
        with one_line_errors():
            assert gc.get_freeze_count() <= kept  # what was made since may become garbage
        assert kept > len(more)
    finally:
        gc.unfreeze()


def test_one_of_a_thing_and_several():
    assert [counted(number, 'object') for number in (0, 1, 1200)] == ['0 objects', '1 object', '1,200 objects']


def test_errors_are_one_line_with_all_their_words(capsys):
    error = DataError(f'x.jsonl:3: {HOSTILE} is no id; mend it')
    assert str(error) == f'x.jsonl:3: {SHOWN} is no id; mend it'
    with pytest.raises(SystemExit) as ended, one_line_errors():
        raise error
    assert ended.value.code == 2
    assert capsys.readouterr().err == f'error: x.jsonl:3: {SHOWN} is no id; mend it\n'


def test_an_error_of_any_length_keeps_its_ends():
    text = str(DataError(f'x.jsonl:3: {"9" * 10**6} is no id; mend it'))
    assert len(text) < 2100
    assert text.startswith('x.jsonl:3: 999')
    assert text.endswith('999 is no id; mend it')


class Broken:
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int):
        raise DataError('the file a\nb: [red] is broken: mend it')


def test_an_error_of_a_worker_is_its_own_line():
    with pytest.raises(RefSegError) as error:
        list(DataLoader(Broken(), num_workers=1))
    assert str(error.value) == r'the file a\nb: [red] is broken: mend it'


def test_tables_and_consoles_show_text_as_it_is(capsys):
    text = plain_table('title', 'group', ['n'], [[HOSTILE, '1']])
    assert SHOWN in text
    table = Table(title='[b]t')
    table.add_column('[x]')
    table.add_row('[red]name[/red] :smile:')
    plain_console(width=100).print(table, '[/x]')
    shown = capsys.readouterr().out
    for part in ('[b]t', '[x]', '[red]name[/red] :smile:', '[/x]'):
        assert part in shown


STOPPED = """
import sys, time
from rs2sam2.engine.launch import one_line_errors
with one_line_errors('; go on with the same command'):
    try:
        print('ready', flush=True)
        time.sleep(60)
    finally:
        time.sleep(0.3)
        open(sys.argv[1], 'w').close()
"""


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_finally_run_and_is_one_line(tmp_path, number):
    done = tmp_path / 'done'
    process = subprocess.Popen([sys.executable, '-c', STOPPED, done], stdout=-1, stderr=-1, text=True)
    assert process.stdout.readline() == 'ready\n'
    process.send_signal(number)
    time.sleep(0.1)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert told == f'stopped by {number.name}; go on with the same command\n'
    assert done.exists()


def test_signals_that_the_caller_ignores_stay_ignored(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with one_line_errors():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


HOLDER = """
import sys, time
from pathlib import Path
from rs2sam2.locks import hold_folder
with hold_folder(Path(sys.argv[1])):
    print('held', flush=True)
    sys.stdin.readline()
"""


def test_a_folder_is_held_by_one_run_and_the_message_says_by_which(tmp_path):
    with subprocess.Popen([sys.executable, '-c', HOLDER, tmp_path], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == 'held\n'
        with pytest.raises(OutputError, match=rf'in use by process {process.pid} on \S+ since .*, or choose --out$'):
            hold_folder(tmp_path, 'choose --out').__enter__()
        # However it ends, the folder is free.
        process.kill()
    assert (tmp_path / LOCK).exists()
    with hold_folder(tmp_path):
        with pytest.raises(OutputError, match='this very process'):
            hold_folder(tmp_path / '.').__enter__()
        # A child, such as a worker that outlives its parent for a while, holds nothing.
        if (child := os.fork()) == 0:
            os._exit(0)
        os.waitpid(child, 0)
        other = subprocess.run([sys.executable, '-c', HOLDER, tmp_path], input='\n', capture_output=True, text=True)
        assert f'in use by process {os.getpid()} on' in other.stderr
    assert list(tmp_path.iterdir()) == []
    with hold_folder(tmp_path):
        pass


def test_folders_that_cannot_be_written_are_found_by_trying(tmp_path):
    make_writable(tmp_path / 'a/b')
    assert list((tmp_path / 'a/b').iterdir()) == []
    (tmp_path / 'file').touch()
    for folder in (tmp_path / 'file', tmp_path / 'file/below', tmp_path / ('x' * 300), Path('/proc/here')):
        with pytest.raises(OutputError, match='cannot be written'):
            make_writable(folder)


def end_in_a_group(folder: Path, fails: bool) -> None:
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=0, world_size=1)
    atexit.register((folder / 'at exit').touch)
    with one_line_errors():
        if fails:
            raise DataError('a.png is missing')
    (folder / 'went on').touch()


@pytest.mark.parametrize(('fails', 'code'), [(False, 0), (True, 2)])
def test_one_of_several_processes_ends_at_once_but_in_order(tmp_path, fails, code):
    process = imported().Process(target=end_in_a_group, args=(tmp_path, fails))
    process.start()
    process.join()
    assert process.exitcode == code
    assert (tmp_path / 'at exit').exists()
    assert not (tmp_path / 'went on').exists()
