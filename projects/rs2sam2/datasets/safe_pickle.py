"""Reads pickles of plain containers by an interpreter of our own: nothing in a file is ever imported or called.

Python's unpickler also allocates what an opcode names (a place in the memo, the length of a text) before the file could
hold it, and crashes the interpreter on keys that are nested deep enough. Opcodes are those of Lib/pickletools.py.
"""

import math
import os
import re
import struct
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from rs2sam2.errors import DataError
from rs2sam2.files import read_regular

_DEEPEST = 100
_LONGEST_NUMBER = 16  # bytes; ids and areas have at most 8
# Both names of the module: Python 2 wrote `__builtin__`.
_BUILTINS = ('builtins', '__builtin__')
_NUMPY = ('numpy.core.multiarray', 'numpy._core.multiarray')


class _Refused(Exception):
    """The pickle names a class or function that is not a plain container."""


class _Global:
    """A name that the pickle asks for."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    @property
    def build(self) -> Callable | None:
        """What does as calling it would, for the few names of plain data."""
        found = (build for (modules, name), build in _PLAIN.items() if self.name == name and self.module in modules)
        return next(found, None)

    def __str__(self) -> str:
        return f'{self.module}.{self.name}'


class _Dtype:
    """A numpy type of plain values."""

    def __init__(self, code: str, *_: Any) -> None:
        if not re.fullmatch(r'b1|[iuf][1248]|[US]\d{1,4}|O8', code):
            raise _Refused(f'numpy.dtype({code!r})')
        self.code, self.order = code, '|'

    def set_state(self, state: tuple) -> None:
        self.order = {'<': '<', '>': '>', '|': '|', '=': '='}[state[1]]

    def values(self, raw: Any, count: int) -> list:
        if self.code == 'O8':
            values = list(raw)
        else:
            values = np.frombuffer(raw, np.dtype(self.order.strip('|') + self.code)).tolist()
        if len(values) != count:
            raise ValueError(f'an array of {len(values)} values where there should be {count}')
        return values


class _Array(list):
    """A numpy array that becomes a list, of lists where it has more dimensions."""

    def set_state(self, state: tuple) -> None:
        _, shape, dtype, fortran, raw = state
        self[:] = _nested(raw, dtype, shape, 'F' if fortran else 'C')


def _nested(raw: Any, dtype: _Dtype, shape: tuple, order: Literal['C', 'F']) -> list:
    count = math.prod(shape)
    if count > len(raw):
        raise ValueError(f'an array of {count:,} values in {len(raw):,} bytes')
    values = np.empty(count, dtype=object)
    values[:] = dtype.values(raw, count)
    return values.reshape(shape or 1, order=order).tolist()


def _scalar(dtype: _Dtype, raw: bytes = b'') -> Any:
    return dtype.values(raw, 1)[0]


def _encode(text: str, encoding: str = 'latin1') -> bytes:
    if encoding not in ('latin1', 'latin-1', 'iso-8859-1', 'ascii', 'utf-8'):
        raise _Refused(f'_codecs.encode(..., {encoding!r})')
    return text.encode(encoding)


def _bytes(content: bytes | str = b'', encoding: str = 'latin1') -> bytes:
    if not isinstance(content, (bytes, str)):
        raise ValueError('bytes of something else than bytes')
    return content if isinstance(content, bytes) else _encode(content, encoding)


_PLAIN: dict[tuple[tuple[str, ...], str], Callable] = {
    (_BUILTINS, 'set'): lambda items=(): set(_listed(items)),
    (_BUILTINS, 'frozenset'): lambda items=(): frozenset(_listed(items)),
    (_BUILTINS, 'bytearray'): _bytes,
    (_BUILTINS, 'bytes'): _bytes,
    (('collections',), 'OrderedDict'): lambda items=(): dict(_listed(items)),
    (('_codecs',), 'encode'): _encode,
    (('numpy',), 'dtype'): _Dtype,
    (_NUMPY, 'scalar'): _scalar,
    (_NUMPY, '_reconstruct'): lambda *_: _Array(),
    (('numpy',), 'ndarray'): lambda *_: _Array(),
    (('numpy.core.numeric', 'numpy._core.numeric'), '_frombuffer'): _nested,
}


def _listed(items: Any) -> list | tuple:
    if not isinstance(items, (list, tuple)):
        raise ValueError('a container of something else than a list')
    return items


class _Reader:
    """The stack machine of a pickle; memory grows with the bytes that are read, never with what they announce."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0
        self.stack: list = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        # Depths of tuples and frozen sets by id, each with itself, so that no id is given again.
        self.frozen: dict[int, tuple[int, Any]] = {}

    def load(self) -> Any:
        data, stack, memo, place = self.data, self.stack, self.memo, 0
        push = stack.append
        try:
            while True:
                code = data[place]
                place += 1
                # Nearly all of a file of refs is these; a call for each would take several times as long.
                if code == 0x68:  # BINGET
                    push(memo[data[place]])
                    place += 1
                elif code == 0x72:  # LONG_BINPUT
                    memo[int.from_bytes(data[place : place + 4], 'little')] = stack[-1]
                    place += 4
                elif code == 0x94:  # MEMOIZE
                    memo[len(memo)] = stack[-1]
                elif code == 0x4D:  # BININT2
                    push(data[place] | data[place + 1] << 8)
                    place += 2
                elif code == 0x4B:  # BININT1
                    push(data[place])
                    place += 1
                elif code == 0x28:  # MARK
                    self.marks.append(len(stack))
                elif code == 0x5D:  # EMPTY_LIST
                    push([])
                elif code == 0x7D:  # EMPTY_DICT
                    push({})
                elif code == 0x6A:  # LONG_BINGET
                    push(memo[int.from_bytes(data[place : place + 4], 'little')])
                    place += 4
                elif code == 0x2E:  # STOP
                    break
                else:
                    operation = _OPERATIONS[code]
                    if operation is None:
                        asks = code in _MAKES_OBJECTS
                        raise _Refused('an object of a class') if asks else ValueError(f'an opcode {code:#04x}')
                    self.place = place
                    operation(self)
                    place = self.place
            value = stack.pop()
        except IndexError:
            raise ValueError('it breaks off') from None
        _check_depth(value)
        return value

    # Reading the arguments of opcodes.

    def take(self, count: int) -> bytes:
        start, self.place = self.place, self.place + count
        if count < 0 or self.place > len(self.data):
            raise ValueError('it breaks off')
        return self.data[start : self.place]

    def number(self, kind: struct.Struct) -> Any:
        return kind.unpack(self.take(kind.size))[0]

    def line(self, encoding: str = 'ascii') -> str:
        end = self.data.index(b'\n', self.place)
        start, self.place = self.place, end + 1
        return self.data[start:end].decode(encoding)

    # The stack.

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_to_mark(self) -> list:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def freeze(self, value: tuple | frozenset) -> None:
        """Push a value that may become a key: hashing it goes as deep as it is nested."""
        depth = 1 + max((self.frozen[id(one)][0] for one in value if id(one) in self.frozen), default=0)
        if depth > _DEEPEST:
            raise ValueError(f'it is nested more than {_DEEPEST} deep')
        self.frozen[id(value)] = depth, value
        self.push(value)

    def tuple_of(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) < count:
            raise ValueError('it breaks off')
        del self.stack[-count:]
        self.freeze(items)

    def put(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def get(self, key: int) -> None:
        self.push(self.memo[key])

    def append(self) -> None:
        value = self.stack.pop()
        self.top(list).append(value)

    def extend(self) -> None:
        items = self.pop_to_mark()
        self.top(list).extend(items)

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.top(dict)[key] = value

    def set_items(self) -> None:
        items = self.pop_to_mark()
        self.top(dict).update(zip(items[::2], items[1::2], strict=True))

    def top(self, kind: type) -> Any:
        value = self.stack[-1]
        if not isinstance(value, kind):
            raise ValueError(f'items for a {type(value).__name__}')
        return value

    def add_items(self) -> None:
        items = self.pop_to_mark()
        self.top(set).update(items)

    def named(self, module: str, name: str) -> None:
        wanted = _Global(module, name)
        if wanted.build is None:
            raise _Refused(wanted)
        self.push(wanted)

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.named(str(module), str(name))

    def reduce(self) -> None:
        arguments, made = self.stack.pop(), self.stack.pop()
        if not isinstance(made, _Global) or made.build is None or not isinstance(arguments, tuple):
            raise _Refused(f'calling a {type(made).__name__}')
        value = made.build(*arguments)
        self.freeze(value) if isinstance(value, frozenset) else self.push(value)

    def build(self) -> None:
        state = self.stack.pop()
        value = self.stack[-1]
        if not isinstance(value, (_Dtype, _Array)):
            raise _Refused(f'setting the state of a {type(value).__name__}')
        value.set_state(state)

    def integer(self, text: str) -> None:
        if text in ('00', '01'):  # how protocol 0 writes False and True
            return self.push(text == '01')
        if len(text) > 3 * _LONGEST_NUMBER:
            raise ValueError(f'a number of {len(text):,} digits')
        return self.push(int(text.rstrip('L')))

    def long(self, size: int) -> None:
        if size > _LONGEST_NUMBER:
            raise ValueError(f'a number of {size:,} bytes')
        self.push(int.from_bytes(self.take(size), 'little', signed=True))

    def quoted(self) -> None:
        text = self.line().strip()
        if len(text) < 2 or text[0] != text[-1] or text[0] not in '\'"':
            raise ValueError('a text without quotes')
        self.push(text[1:-1].encode().decode('unicode_escape').encode('latin1').decode('utf-8'))

    def text(self, size: int) -> None:
        self.push(self.take(size).decode('utf-8', 'surrogatepass'))


def _check_depth(value: Any) -> None:
    level = {id(value): value}
    for _ in range(_DEEPEST + 1):
        level = {
            id(inner): inner
            for one in level.values()
            if isinstance(one, (list, tuple, set, frozenset, dict))
            for inner in ((*one.keys(), *one.values()) if isinstance(one, dict) else one)
            if isinstance(inner, (list, tuple, set, frozenset, dict))
        }
        if not level:
            return
    raise ValueError(f'it is nested more than {_DEEPEST} deep')


_BYTE, _INT, _UINT, _ULONG, _DOUBLE = map(struct.Struct, ('B', '<i', '<I', '<Q', '>d'))
_BY_NAME: dict[str, Callable[[_Reader], object]] = {
    '0': lambda r: r.stack.pop(),
    '1': lambda r: r.pop_to_mark(),
    '2': lambda r: r.push(r.stack[-1]),
    'N': lambda r: r.push(None),
    '\x88': lambda r: r.push(True),
    '\x89': lambda r: r.push(False),
    # Numbers.
    'F': lambda r: r.push(float(r.line())),
    'G': lambda r: r.push(r.number(_DOUBLE)),
    'I': lambda r: r.integer(r.line()),
    'L': lambda r: r.integer(r.line()),
    'J': lambda r: r.push(r.number(_INT)),
    '\x8a': lambda r: r.long(r.number(_BYTE)),
    '\x8b': lambda r: r.long(r.number(_INT)),
    # Texts and bytes.
    'S': lambda r: r.quoted(),
    'V': lambda r: r.push(r.line('raw_unicode_escape')),
    'T': lambda r: r.text(r.number(_INT)),
    'U': lambda r: r.text(r.number(_BYTE)),
    'X': lambda r: r.text(r.number(_UINT)),
    '\x8c': lambda r: r.text(r.number(_BYTE)),
    '\x8d': lambda r: r.text(r.number(_ULONG)),
    'B': lambda r: r.push(r.take(r.number(_UINT))),
    'C': lambda r: r.push(r.take(r.number(_BYTE))),
    '\x8e': lambda r: r.push(r.take(r.number(_ULONG))),
    '\x96': lambda r: r.push(r.take(r.number(_ULONG))),
    # Containers.
    ')': lambda r: r.push(()),
    '\x8f': lambda r: r.push(set()),
    'l': lambda r: r.push(r.pop_to_mark()),
    'd': lambda r: r.push((lambda items: dict(zip(items[::2], items[1::2], strict=True)))(r.pop_to_mark())),
    't': lambda r: r.freeze(tuple(r.pop_to_mark())),
    '\x85': lambda r: r.tuple_of(1),
    '\x86': lambda r: r.tuple_of(2),
    '\x87': lambda r: r.tuple_of(3),
    '\x91': lambda r: r.freeze(frozenset(r.pop_to_mark())),
    'a': lambda r: r.append(),
    'e': lambda r: r.extend(),
    's': lambda r: r.set_item(),
    'u': lambda r: r.set_items(),
    '\x90': lambda r: r.add_items(),
    # The memo.
    'p': lambda r: r.put(int(r.line())),
    'q': lambda r: r.put(r.number(_BYTE)),
    'g': lambda r: r.get(int(r.line())),
    # Names, and what is made by them.
    'c': lambda r: r.named(r.line(), r.line()),
    '\x93': lambda r: r.stack_global(),
    'R': lambda r: r.reduce(),
    'b': lambda r: r.build(),
    # Headers.
    '\x80': lambda r: r.take(1),
    '\x95': lambda r: r.take(8),
}
_MAKES_OBJECTS = b'io\x81\x92'
_OPERATIONS = [_BY_NAME.get(chr(code)) for code in range(256)]


def load_plain_pickle(path: str | os.PathLike) -> Any:
    """Read a pickle that holds only plain containers, texts and numbers; those of numpy become plain ones.

    Args:
        path: The file.

    Returns:
        What the file holds.

    Raises:
        DataError: The file is missing or too large, is not a whole pickle, is nested more than 100 deep, or asks for a
            class or function (refused, never called).
    """
    data = read_regular(path, 'check data_root and ann_file')
    try:
        return _Reader(data).load()
    except _Refused as error:
        raise DataError(
            f'{path} asks for {error}, which a file of plain lists and dicts has no use for and which could run code: '
            'refused; get the file from a source you trust'
        ) from error
    except Exception as error:  # garbage bytes raise nearly any kind
        text = ' '.join(str(error).split()) or type(error).__name__
        raise DataError(f'{path} is not a whole pickle ({text:.200}); fetch it again') from error
