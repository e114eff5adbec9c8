"""Pickles of refs: every plain value of every protocol, and bombs that end in one line at once."""

import collections
import os
import pickle
import resource
import struct
import time

import numpy as np
import pytest

from rs2sam2.datasets.safe_pickle import load_plain_pickle
from rs2sam2.errors import DataError

PLAIN = {
    'values': [1, 255, 256, 65536, 2.5, float('inf'), -3, 2**40, -(2**70), True, False, None],
    'texts': ['', 'é\U0001f680\n', 'q\\u0041', '红', '\ud800'],
    'tuples': ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), ((1, (2,)),)),
    'sets': [set(), {1, 2}, frozenset({(1, 2), (3,)})],
    'bytes': [b'', b'\x00\xff' * 200],
    'ordered': collections.OrderedDict(a=1, b=2),
    'long': list(range(2000)),
    'many': {number: str(number) for number in range(2000)},
}
PLAIN['again'] = PLAIN['values']
NUMPY = {
    'integer': np.int64(5), 'byte': np.uint8(7), 'float': np.float32(2.5), 'truth': np.bool_(True),
    'text': np.str_('hé'), 'table': np.arange(6).reshape(2, 3),
    'columns': np.asfortranarray(np.arange(6).reshape(2, 3)),
    'objects': np.array(['a', 1, None], object), 'empty': np.zeros((0, 3)), 'big endian': np.array([1, 2], '>i4'),
    'place': np.array(3),
}  # fmt: skip


@pytest.fixture
def load(tmp_path):
    def read(content):
        (tmp_path / 'x.p').write_bytes(content)
        return load_plain_pickle(tmp_path / 'x.p')

    return read


@pytest.mark.parametrize('protocol', range(6))
def test_plain_values_of_every_protocol(load, protocol):
    found = load(pickle.dumps(PLAIN, protocol))
    assert found == PLAIN
    assert found['again'] is found['values']
    assert [type(value) for value in found['values']] == [type(value) for value in PLAIN['values']]
    assert bytes(load(pickle.dumps(bytearray(b'xyz'), protocol))) == b'xyz'


@pytest.mark.parametrize('protocol', range(6))
def test_numbers_of_numpy_become_plain_ones(load, protocol):
    expected = {key: value.tolist() for key, value in NUMPY.items()}
    for key, value in NUMPY.items():
        found = load(pickle.dumps(value, protocol))
        # An array without dimensions becomes a list of one.
        assert found == ([3] if key == 'place' else expected[key]), key
        assert 'numpy' not in type(found).__module__


def tuples(depth):
    """A dict whose key is nested: hashing it goes as deep."""
    return b'\x80\x02}K\x01' + b'\x85' * depth + b'K\x01s.'


BOMBS = {
    'a key nested a million deep': (tuples(10**6), 'nested more than 100 deep'),
    'a list nested a million deep': (b'\x80\x02' + b']' * 10**6 + b'a' * (10**6 - 1) + b'.', 'nested more than 100'),
    'a list in itself': (b'\x80\x02]q\x00h\x00a.', 'nested more than 100 deep'),
    'frozen sets': (b'\x80\x04' + b'(' * 5000 + b'\x91' * 5000 + b'.', 'nested more than 100 deep'),
    'bytearray of 10 GB': (b'\x80\x02c__builtin__\nbytearray\n\x8a\x05\x00\xe4\x0bT\x02\x85R.', 'not a whole pickle'),
    'bytes of 10 GB': (b'\x80\x02c__builtin__\nbytes\n\x8a\x05\x00\xe4\x0bT\x02\x85R.', 'not a whole pickle'),
    'place 4,294,967,295 of the memo': (b'\x80\x02]r\xff\xff\xff\xff.', None),
    'a text of 4 GB': (b'\x80\x02X\xff\xff\xff\xffab.', 'breaks off'),
    'a text of 16 exabytes': (b'\x80\x04\x8d' + b'\xff' * 8 + b'ab.', 'breaks off'),
    'bytes of 2**60': (b'\x80\x05\x96' + struct.pack('<Q', 2**60) + b'.', 'breaks off'),
    'a frame of 2**60': (b'\x80\x04\x95' + struct.pack('<Q', 2**60) + b'N.', None),
    'a number of 2 GB': (b'\x80\x02\x8b\xff\xff\xff\x7f.', 'a number of 2,147,483,647 bytes'),
    'a number of 400 digits': (b'L' + b'9' * 400 + b'L\n.', 'a number of 401 digits'),
    'a number of 400 bytes': (b'\x80\x02\x8b' + struct.pack('<i', 400) + b'\x01' * 400 + b'.', 'a number of 400 bytes'),
    'an array of 10**12 values': (
        b'\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01\x8a\x05\x00\xe4\x0bT'
        b'\x02\x85cnumpy\ndtype\nU\x02i8K\x00K\x01\x87R\x89U\x00tb.',
        'an array of 10,000,000,000 values in 0 bytes',
    ),
    'a mark too many': (b'\x80\x02e.', 'breaks off'),
    'nothing': (b'', 'breaks off'),
    'a name of numpy that runs code': (b"\x80\x02cnumpy\nload\nX\x01\x00\x00\x00a\x85R.", r'asks for numpy\.load'),
    'a dtype that is none': (b'\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00V9\x85R.', 'asks for numpy.dtype'),
    'an object of a class': (b'(ios\nsystem\n.', 'asks for an object of a class'),
}  # fmt: skip


@pytest.mark.parametrize('name', BOMBS)
def test_bombs_end_in_one_line_at_once(load, name):
    content, message = BOMBS[name]
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    if message is None:
        load(content)
    else:
        with pytest.raises(DataError, match=message) as caught:
            load(content)
        assert '\n' not in str(caught.value)
        assert len(str(caught.value)) < 500
    assert time.process_time() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_garbage_is_always_one_line(load):
    rng = np.random.default_rng(0)
    whole = pickle.dumps([PLAIN, NUMPY])
    for _ in range(300):
        content = bytearray(whole[: rng.integers(1, len(whole))])
        for place in rng.integers(0, len(content), 3):
            content[place] = rng.integers(256)
        try:
            load(bytes(content))
        except DataError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - nearly any error is right, or none


def test_files_that_are_none_or_too_large(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / 'pipe.p')
    with pytest.raises(DataError, match='a named pipe'):
        load_plain_pickle(tmp_path / 'pipe.p')
    with open(tmp_path / 'sparse.p', 'wb') as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match=r'sparse\.p has 1,099,511,627,776 bytes.*RS2SAM2_MAX_BYTES'):
        load_plain_pickle(tmp_path / 'sparse.p')
    monkeypatch.setenv('RS2SAM2_MAX_BYTES', '10')
    (tmp_path / 'x.p').write_bytes(pickle.dumps(list(range(20))))
    with pytest.raises(DataError, match='more than 10 are not read'):
        load_plain_pickle(tmp_path / 'x.p')


@pytest.mark.shared
def test_the_real_refs_are_what_pickle_reads(shared):
    path = shared / 'data/rrsisd/refs(unc).p'
    assert load_plain_pickle(path) == pickle.loads(path.read_bytes())
