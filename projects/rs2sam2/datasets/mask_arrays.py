"""Masks in NumPy's .npz files: one array a mask, or a stack with ids; none of it is run, or unpacked all at once."""

import contextlib
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from rs2sam2.datasets.images import check_pixels
from rs2sam2.errors import DataError
from rs2sam2.files import require_regular

STACK, IDS, REF_IDS, SENTENCES = 'masks', 'ids', 'ref_ids', 'sentences'


class ArrayMask(NamedTuple):
    """What its writer calls a mask, where it stands, and how it is read."""

    name: str
    where: str
    read: Callable[[], np.ndarray]


def list_arrays(path: Path, threshold: float | None = None) -> list[ArrayMask]:
    """List the masks of a file: `masks` (n, h, w) with `ids` (n,), or `ref_ids` and `sentences`; or an array an id.

    A stack is read mask by mask: quickly in its own order, from the start again for one before.

    Args:
        path: the file.
        threshold: values above are foreground; None for arrays of 0 and one other value.

    Raises:
        DataError: it is no such file, holds Python objects, or stack and ids do not fit each other.
    """
    require_regular(path, 'write it again')
    with _opened(path) as file:
        heads = {name.removesuffix('.npy'): _head(file, name, path) for name in file.namelist()}
    if STACK not in heads:
        return [ArrayMask(name, f'{path}, {name}', partial(_one, path, name, threshold)) for name in heads]
    ids, head = _ids(path, heads), heads[STACK]
    if len(head.shape) != 3 or head.shape[0] != len(ids) or head.fortran:
        raise DataError(f'{path}: `masks` is {head.shape}, not (n, h, w) in C order for the {len(ids)} of its ids')
    stack = _Stack(path, head)
    places = [f'{path}, mask {index}' for index in range(len(ids))]
    return [
        ArrayMask(name, place, partial(_of_stack, stack, index, threshold, place))
        for index, (name, place) in enumerate(zip(ids, places, strict=True))
    ]


class _Head(NamedTuple):
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype


class _Stack:
    """Reads masks of a stack one after the other."""

    def __init__(self, path: Path, head: _Head) -> None:
        self.path, self.head = path, head
        self._member: IO[bytes] | None = None
        self._next = 0

    def read(self, index: int) -> np.ndarray:
        size = prod(self.head.shape[1:]) * self.head.dtype.itemsize
        try:
            if self._member is None or index < self._next:
                # Kept open from mask to mask: it unpacks in one direction only.
                self._member = zipfile.ZipFile(self.path).open(f'{STACK}.npy')  # noqa: SIM115
                _read_head(self._member)
                self._next = 0
            while self._next < index:
                self._member.read(size)
                self._next += 1
            content = self._member.read(size)
            self._next += 1
            return np.frombuffer(content, self.head.dtype).reshape(self.head.shape[1:])
        except (zipfile.BadZipFile, OSError, ValueError, EOFError) as error:
            raise DataError(f'{self.path}, mask {index}: cannot be read whole ({error}); write it again') from error


def _ids(path: Path, heads: dict[str, _Head]) -> list[str]:
    fields = [IDS] if IDS in heads else [name for name in (REF_IDS, SENTENCES) if name in heads]
    if not fields or fields == [SENTENCES]:
        raise DataError(f'{path}: `masks` without `ids`: write an id for every mask beside them')
    columns = [_read(path, name) for name in fields]
    if any(column.ndim != 1 or column.dtype.kind not in 'iuU' for column in columns):
        raise DataError(f'{path}: {" and ".join(fields)} must be rows of whole numbers or texts')
    if len({len(column) for column in columns}) > 1:
        raise DataError(f'{path}: {" and ".join(fields)} are not of one length')
    return ['/'.join(map(str, parts)) for parts in zip(*(column.tolist() for column in columns), strict=True)]


def _one(path: Path, name: str, threshold: float | None) -> np.ndarray:
    return _binary(_read(path, name), threshold, f'{path}, {name}')


def _of_stack(stack: _Stack, index: int, threshold: float | None, where: str) -> np.ndarray:
    return _binary(stack.read(index), threshold, where)


def _read(path: Path, name: str) -> np.ndarray:
    with _opened(path) as file, file.open(f'{name}.npy') as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _head(file: zipfile.ZipFile, name: str, path: Path) -> _Head:
    with file.open(name) as member:
        head = _Head(*_read_head(member))
    if head.dtype.hasobject:
        raise DataError(f'{path}, {name.removesuffix(".npy")}: holds Python objects, which are not read')
    if len(head.shape) > 1:
        check_pixels(head.shape[-2:], f'{path}, {name.removesuffix(".npy")}')
    return head


def _read_head(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(member)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError) as error:
        raise DataError(f'{path} is no whole .npz file of arrays ({error}); write it again') from error


def _binary(array: np.ndarray, threshold: float | None, where: str) -> np.ndarray:
    if array.ndim != 2 or array.dtype.kind not in 'biuf':
        raise DataError(f'{where} is an array {array.shape} of {array.dtype}, not (h, w) numbers')
    if array.dtype.kind == 'f' and np.isnan(array).any():
        raise DataError(f'{where} holds values that are no numbers (NaN)')
    if threshold is not None and array.dtype.kind != 'b':
        return array > threshold
    values = np.unique(array)
    if len(values) > 2 or (len(values) == 2 and values[0] != 0):
        raise DataError(f'{where} has other values than 0 and one more: say by --threshold what is foreground')
    return array != 0
