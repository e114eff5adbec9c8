"""Looks through a pickled checkpoint before it is read: nothing in it may take more memory or depth than the file has.

torch's `weights_only` reading runs no code, but it allocates what a pickle asks for (a bytearray of any length, a
storage of any size, compressed entries of an archive), and Python's hash of a tuple that is nested deep enough ends the
process.
"""

import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from rs2sam2.errors import CheckpointError
from rs2sam2.files import limit_of

MAX_INSTRUCTIONS = 'RS2SAM2_MAX_PICKLE'
"""Environment variable: pickles of more instructions are refused. A tensor takes some 30."""

_DEEPEST = 100
_MOST_BITS = 1 << 12
# What allocates by a number that the pickle names, or computes for as long as it pleases; no tensor needs them.
_REFUSED = ('bytearray', 'UntypedStorage', 'TypedStorage', '_TypedStorage', 'Tensor')
_SLOW_CODECS = ('idna', 'punycode')
# Pickles at the beginning of a file older than torch 1.6: its magic number, protocol, machine, content, keys.
_LEGACY_PICKLES = 5


def guard(path: Path) -> None:
    """Refuse what would allocate more than the file holds, nest too deep, or never end.

    Raises:
        CheckpointError: it would, or the file is no pickle.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CheckpointError(f'{path} is damaged or no checkpoint ({error.strerror}): fetch it anew') from None
    with path.open('rb') as file:
        try:
            if file.read(2) != b'PK':
                file.seek(0)
                _scan_legacy(path, file, size)
                return
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                if any(one.compress_type != zipfile.ZIP_STORED for one in entries) or size < sum(
                    one.file_size for one in entries
                ):
                    raise CheckpointError(
                        f'{path} is refused: its entries are compressed or overlap, and may be of any size; '
                        'write it anew with torch.save'
                    )
                for one in entries:
                    if one.filename.endswith('data.pkl'):
                        with archive.open(one) as content:
                            _scan(path, pickletools.genops(content), size)
        except (ValueError, zipfile.BadZipFile, OSError, EOFError, IndexError, NotImplementedError) as error:
            raise CheckpointError(f'{path} is damaged or no checkpoint ({error}): fetch it anew') from error


def _scan_legacy(path: Path, file: IO[bytes], size: int) -> None:
    for number in range(_LEGACY_PICKLES):
        place = file.tell()
        if place == size:
            return
        try:
            _scan(path, pickletools.genops(file), size)
        except (ValueError, EOFError, IndexError):
            # Only the first one is there in every file; what follows may be tensors.
            if number == 0:
                raise
            return


def _scan(path: Path, instructions: Iterator[tuple], size: int) -> None:
    limit = limit_of(MAX_INSTRUCTIONS, 5_000_000)
    stack: list[int | None] = []
    memo: dict[int, int] = {}
    numbers: list[int] = []
    encodes = False

    def refuse(what: str) -> None:
        raise CheckpointError(f'{path} is refused: its pickle {what}; only files of tensors are read')

    def since_mark() -> int:
        deepest = -1
        while stack and (top := stack.pop()) is not None:
            deepest = max(deepest, top)
        return deepest

    for count, (opcode, argument, _) in enumerate(instructions):
        name = opcode.name
        if count >= limit:
            refuse(
                f'has more than {limit:,} instructions; to allow more, set the environment variable {MAX_INSTRUCTIONS}'
            )
        if (isinstance(argument, int) and 'INT' in name) or (name.startswith('LONG') and isinstance(argument, int)):
            if argument.bit_length() > _MOST_BITS:
                refuse('holds a number of more than a thousand digits')
            numbers.append(argument)
        if isinstance(argument, str):
            word = argument.split()[-1].split('.')[-1] if name == 'GLOBAL' else argument
            if (name == 'GLOBAL' or len(argument) < 16) and word in _REFUSED and (name == 'GLOBAL' or word != 'Tensor'):
                refuse(f'asks for {argument.replace(" ", ".")}, which is of any size')
            encodes |= name == 'GLOBAL' and argument == '_codecs encode'
            if encodes and argument in _SLOW_CODECS:
                refuse(f'encodes text as {argument}')
        if name == 'MARK':
            stack.append(None)
            numbers.clear()
        elif name in ('TUPLE', 'LIST', 'DICT', 'FROZENSET', 'OBJ', 'INST'):
            stack.append(since_mark() + 1)
        elif name in ('TUPLE1', 'TUPLE2', 'TUPLE3'):
            taken = [stack.pop() or 0 for _ in range(int(name[-1])) if stack]
            stack.append(max(taken, default=0) + 1)
        elif name in ('APPENDS', 'SETITEMS', 'ADDITEMS'):
            _deepen(stack, since_mark())
        elif name in ('APPEND', 'BUILD'):
            _deepen(stack, _pop(stack))
        elif name == 'SETITEM':
            _deepen(stack, max(_pop(stack), _pop(stack)))
        elif name in ('REDUCE', 'NEWOBJ', 'STACK_GLOBAL'):
            stack.append(max(_pop(stack), _pop(stack)) + (name != 'STACK_GLOBAL'))
        elif name in ('BINPERSID', 'PERSID'):
            if max(numbers, default=0) > size:
                refuse('names a storage that is larger than the file')
            _pop(stack)
            stack.append(0)
        elif name == 'POP':
            _pop(stack)
        elif name == 'POP_MARK':
            since_mark()
        elif name == 'DUP':
            stack.append(stack[-1] if stack else 0)
        elif name in ('PUT', 'BINPUT', 'LONG_BINPUT', 'MEMOIZE'):
            memo[len(memo) if argument is None else argument] = (stack[-1] or 0) if stack else 0
        elif name in ('GET', 'BINGET', 'LONG_BINGET'):
            stack.append(memo.get(argument, 0))
        elif name not in ('PROTO', 'FRAME', 'STOP'):
            stack.append(0)
        if stack and (stack[-1] or 0) > _DEEPEST:
            refuse(f'is nested more than {_DEEPEST} deep')


def _pop(stack: list[int | None]) -> int:
    return (stack.pop() or 0) if stack else 0


def _deepen(stack: list[int | None], inner: int) -> None:
    if stack and stack[-1] is not None:
        stack[-1] = max(stack[-1], inner + 1)
