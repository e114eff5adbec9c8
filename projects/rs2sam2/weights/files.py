"""Read and write weights files: the one strict, safe loader for everything that comes from outside.

Safetensors, or pickles read with `weights_only=True` and never otherwise; memory-mapped, so that a file of several GB
costs address space and not memory.
"""

import argparse
import contextlib
import fcntl
import functools
import glob
import json
import os
import pickle
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file
from torch import Tensor

from rs2sam2.errors import CheckpointError
from rs2sam2.files import place_of, read_regular, replace_durably
from rs2sam2.json_text import parse_json
from rs2sam2.weights.pickle_guard import guard

PICKLE_SUFFIXES = ('.pth', '.pt', '.bin')
# A published folder holds one of these; the first that is there is read.
FOLDER_FILES = (
    'model.safetensors.index.json',
    'model.safetensors',
    'pytorch_model.bin.index.json',
    'pytorch_model.bin',
)
# Where published pickles keep the weights, and where safetensors files of ours keep their meta.
WRAPPERS = ('state_dict', 'model')
# A second network's weights beside the first: `bert_model.` stands before their names then.
SECOND = 'bert_model'
META_KEY = 'rs2sam2'
# Tensors of these are computed with.
KINDS = ('float32', 'float64', 'float16', 'bfloat16', 'int64', 'int32', 'int16', 'int8', 'uint8', 'bool')
TEMPORARY_SUFFIX = '.tmp'
# Blocks of 64 KiB that a file must be able to take, else its disk is called full.
PROBE_BLOCKS = 64

_tags_as_cpu: ContextVar[bool] = ContextVar('tags_as_cpu', default=False)


class TensorSpec(NamedTuple):
    """Shape and dtype of a tensor in a file."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class StateDictFile(Mapping[str, Tensor]):
    """Tensors by name, mapped from one file or from the shards of a folder.

    Args:
        path: what the user named; errors name it.
        files: the files that hold the tensors.
        names: for shards, which file the index says holds a name.
        map_location: device of the tensors, as in `torch.load`.

    Attributes:
        specs: shape and dtype of every tensor.
        content: what a pickle holds beside the weights (`meta`, `optimizer`, ...), or a safetensors file's `meta`.
    """

    def __init__(self, path: Path, files: list[Path], names: dict[str, Path] | None, map_location: Any) -> None:
        self.path = path
        self.content: dict[str, Any] = {}
        self.specs: dict[str, TensorSpec] = {}
        self._map_location = map_location
        self._file_of: dict[str, Path] = {}
        self._open: dict[Path, Mapping[str, Tensor]] = {}
        for file in files:
            for name, tensor in self._tensors(file).items():
                _refuse_kind(file, name, tensor)
                if name in self.specs:
                    raise CheckpointError(f'{path}: {name} stands in two shards, fetch the folder anew')
                self.specs[name] = TensorSpec(tuple(tensor.shape), tensor.dtype)
                self._file_of[name] = file
        if not self.specs:
            raise CheckpointError(f'{path} is not a checkpoint: it holds no tensor')
        if names is not None and names != self._file_of:
            wrong = sorted(set(names.items()) ^ set(self._file_of.items()))
            raise CheckpointError(f'{path}: index and shards disagree about {wrong[0][0]}, fetch the folder anew')

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors(self._file_of[name])[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)

    def release(self) -> None:
        """Unmap what was read so far; the next access maps it anew. Tensors handed out stay valid."""
        self._open.clear()

    def _tensors(self, file: Path) -> Mapping[str, Tensor]:
        if file not in self._open:
            _refuse_stand_in(file)
            reader = _read_safetensors if file.suffix == '.safetensors' else _read_pickled_weights
            self._open[file], content = reader(file, self._map_location)
            self.content.update(content)
        return self._open[file]


def open_state_dict(path: str | Path, map_location: Any = 'cpu') -> StateDictFile:
    """Open weights without reading them.

    Args:
        path: a `.safetensors`, `.pth`, `.pt` or `.bin` file, or a Hugging Face style folder with `model.safetensors` or
            `pytorch_model.bin`, whole or in shards with an index.
        map_location: device of the tensors, as in `torch.load`.

    Returns:
        The tensors by name. `{'state_dict': ...}` and `{'model': ...}` are unwrapped, and what LAVT's release keeps
        beside the latter under `bert_model` is one of them, with that name before its own.

    Raises:
        CheckpointError: the file or a shard is missing, damaged, no checkpoint, or a pickle that would run code.
    """
    path = Path(path)
    among = (path / name for name in FOLDER_FILES if (path / name).is_file())
    file = next(among, None) if path.is_dir() else path
    if file is None:
        raise CheckpointError(f'{path} holds no weights: expected one of {", ".join(FOLDER_FILES)}')
    if not file.is_file():
        raise CheckpointError(f'{file} is no file' if file.exists() else f'{path} does not exist')
    if file.name.endswith('.index.json'):
        names = _read_index(file)
        return StateDictFile(path, sorted(set(names.values())), names, map_location)
    if file.suffix != '.safetensors' and file.suffix not in PICKLE_SUFFIXES:
        raise CheckpointError(f'{path} is not a checkpoint: expected .safetensors, {", ".join(PICKLE_SUFFIXES)}')
    return StateDictFile(path, [file], None, map_location)


def load_pickle(path: Path, map_location: Any = 'cpu') -> Any:
    """Read a pickle that may hold tensors, plain containers, what mmengine's own checkpoints need, and command lines.

    Nothing else. The parsed command line (`argparse.Namespace`), which many training scripts save beside the weights,
    is a plain bag of values.

    Raises:
        CheckpointError: the file is damaged or its pickle would run code.
    """
    guard(path)
    try:
        with path.open('rb') as f:
            is_zip = f.read(2) == b'PK'
        with torch.serialization.safe_globals(_plain_globals()):
            # Files older than torch 1.6 are no zip archives and cannot be mapped.
            return torch.load(path, map_location=map_location, weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        found = re.search(r'GLOBAL (\S+)', str(error))
        what = f'its pickle asks for {found[1].rstrip(",.")}' if found else 'it is no pickle of plain tensors'
        raise CheckpointError(f'{path} is refused: {what}; only files of tensors are read, no code is run') from None
    # A cut or changed file makes torch raise nearly any kind.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f'{path} is damaged or no checkpoint ({reason[:160]}): fetch it anew') from None


def save_state_dict(path: str | Path, tensors: Mapping[str, Tensor], meta: dict, wrapper: str | None = None) -> None:
    """Write weights whole or not at all.

    Args:
        path: where to; the suffix decides between safetensors and torch's format.
        tensors: tensors by name.
        meta: what the weights are; plain values. Without a wrapper it is left out of a pickle.
        wrapper: key over the weights in a pickle.

    Raises:
        CheckpointError: the suffix is unknown or the file cannot be written.
    """
    path = Path(path)
    if path.suffix != '.safetensors' and path.suffix not in PICKLE_SUFFIXES:
        raise CheckpointError(f'{path}: write to .safetensors or one of {", ".join(PICKLE_SUFFIXES)}')
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with _whole_file(path) as temporary:
        if path.suffix == '.safetensors':
            save_file(tensors, str(temporary), metadata={'format': 'pt', META_KEY: json.dumps(meta)})
            # It is made for its owner alone; weights are read by others too.
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
        else:
            torch.save(_pickled(tensors, meta, wrapper), temporary)


def _pickled(tensors: dict[str, Tensor], meta: dict, wrapper: str | None) -> dict:
    """Weights as a pickle holds them; a second network's get an entry of their own."""
    if wrapper is None:
        return tensors
    second = {name.removeprefix(f'{SECOND}.'): one for name, one in tensors.items() if name.startswith(f'{SECOND}.')}
    first = {name: one for name, one in tensors.items() if not name.startswith(f'{SECOND}.')}
    content = {wrapper: first} | ({SECOND: second} if second else {})
    return {**content, 'meta': meta} if wrapper == 'state_dict' else content


def save_checkpoint(path: Path, content: dict) -> None:
    """Write a training checkpoint whole or not at all.

    Tensors on a GPU are brought over one at a time while the file is written, and are marked as tensors of the CPU, so
    that the file opens on any machine.

    Raises:
        CheckpointError: the file cannot be written.
    """
    _register_tagger()
    token = _tags_as_cpu.set(True)
    try:
        with _whole_file(path) as temporary:
            torch.save(content, temporary)
    finally:
        _tags_as_cpu.reset(token)


def temporary_name(path: Path) -> Path:
    """Where a file is written before it takes its name: hidden, in the same folder."""
    return path.with_name(f'.{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}')


def remove_leftovers(folder: Path, name: str) -> list[str]:
    """Remove the temporary files that killed processes left of a file; those that another process writes stay.

    Args:
        folder: where it was to be.
        name: of the file, or a pattern.

    Returns:
        Their names.
    """
    removed = []
    for path in sorted(folder.glob(f'.{name}.*{TEMPORARY_SUFFIX}')):
        with contextlib.suppress(OSError), path.open('rb') as file:
            # A writer holds its file; the lock of a killed one is gone.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            removed.append(path.name)
    return removed


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path, which takes the name `path` when its content is on disk, and is removed on an error."""
    path = place_of(path)
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, glob.escape(path.name))
        with temporary.open('wb') as held:
            with contextlib.suppress(OSError):
                fcntl.flock(held, fcntl.LOCK_EX)
            yield temporary
            replace_durably(temporary, path)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        reason = getattr(error, 'strerror', None) or _why_full(temporary) or str(error).strip().splitlines()[0]
        raise CheckpointError(
            f'{path} could not be written: {reason}; make room there, or write to another folder'
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _why_full(path: Path) -> str | None:
    """Why a file cannot grow, which torch and safetensors do not say; None where it can."""
    try:
        with path.open('ab', buffering=0) as file:
            for _ in range(PROBE_BLOCKS):
                file.write(bytes(1 << 16))
    except OSError as error:
        return error.strerror
    return None


def name_some(names: list[str], limit: int = 5) -> str:
    """List the first few of many names: `3 (a, b, c)`, `7 (a, b, c, d, e, ...)`."""
    return f'{len(names)} ({", ".join(names[:limit])}{", ..." if len(names) > limit else ""})'


@functools.cache
def _register_tagger() -> None:
    # Before torch's own taggers, which begin at 10.
    torch.serialization.register_package(0, _tag_as_cpu, lambda storage, location: None)


def _tag_as_cpu(storage: Any) -> str | None:
    """What `torch.save` writes down as a tensor's device; None where the next tagger is to say it."""
    return 'cpu' if _tags_as_cpu.get() else None


def _refuse_stand_in(file: Path) -> None:
    """Raise a `CheckpointError` for what is found in the place of weights that were not fetched as they should be."""
    with file.open('rb') as opened:
        begin = opened.read(64).lower()
    if begin.startswith(b'version https://git-lfs'):
        raise CheckpointError(
            f'{file} only points to the weights: run git lfs pull in its folder, or name hf:user/repo'
        )
    if begin.startswith((b'<!doctype html', b'<html')):
        raise CheckpointError(f'{file} is a web page, most likely one that asks for a login: fetch the weights by hand')


def _refuse_kind(file: Path, name: str, tensor: Tensor) -> None:
    """Raise a `CheckpointError` for a tensor whose numbers are not all in the file, in a kind that is computed with."""
    kind = str(tensor.dtype).removeprefix('torch.')
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        what = 'without numbers (meta)' if tensor.is_meta else 'quantized' if tensor.is_quantized else 'sparse'
        raise CheckpointError(f'{file}: {name} is {what}: save it as a plain tensor of float32 or bfloat16')
    if kind not in KINDS:
        raise CheckpointError(f'{file}: {name} is of {kind}: save it as float32, bfloat16 or float16')
    if tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():
        raise CheckpointError(f'{file}: {name} repeats few numbers in a larger shape: save it with .contiguous()')


def _read_index(file: Path) -> dict[str, Path]:
    try:
        names = {name: file.parent / shard for name, shard in parse_json(read_regular(file))['weight_map'].items()}
    except (ValueError, KeyError, AttributeError, TypeError):
        raise CheckpointError(f'{file} is no index of shards: fetch it anew') from None
    for shard in sorted(set(names.values())):
        if shard.parent != file.parent:
            raise CheckpointError(f'{file} names {shard}, which lies outside its folder')
        if not shard.is_file():
            raise CheckpointError(f'{shard} is missing, {file.name} names it')
    return names


class _MappedTensors(Mapping[str, Tensor]):
    """Tensors of a safetensors file, each made when it is asked for; on a CPU it is a part of the mapped file."""

    def __init__(self, file: Path, device: str) -> None:
        self._path = file
        with self._damage():
            self._file = safetensors.safe_open(str(file), 'pt', device=device)
            self.meta = parse_json((self._file.metadata() or {}).get(META_KEY, '{}'))
            self._names = tuple(self._file.keys())

    def __getitem__(self, name: str) -> Tensor:
        with self._damage():
            return self._file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @contextlib.contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f'{self._path} is damaged or no safetensors file ({error}): fetch it anew') from None


def _read_safetensors(file: Path, map_location: Any) -> tuple[Mapping[str, Tensor], dict]:
    tensors = _MappedTensors(file, str(map_location))
    return tensors, dict(meta=tensors.meta)


def _read_pickled_weights(file: Path, map_location: Any) -> tuple[dict[str, Tensor], dict]:
    content = load_pickle(file, map_location)
    tensors, rest = content, {}
    if isinstance(content, dict):
        wrapper = next((key for key in WRAPPERS if isinstance(content.get(key), dict)), None)
        if wrapper:
            tensors = content[wrapper]
            rest = {key: value for key, value in content.items() if key != wrapper}
            if isinstance(rest.get(SECOND), dict):
                tensors = {**tensors, **{f'{SECOND}.{name}': tensor for name, tensor in rest.pop(SECOND).items()}}
    if not isinstance(tensors, dict):
        raise CheckpointError(f'{file} is not a checkpoint: it holds a {type(content).__name__}, not named tensors')
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise CheckpointError(f'{file} is not a checkpoint: its entry {name!r} has no name that is text')
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f'{file} is not a checkpoint: its entry {name} is a {type(tensor).__name__}')
    return dict(tensors), rest


def _statistic(owner: type, name: str) -> Any:
    """Stand-in for `getattr` in mmengine's checkpoints, which name `HistoryBuffer.mean` and its like through it."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'current', 'mean'):
        raise pickle.UnpicklingError(f'Unsupported operand getattr({owner!r}, {name!r})')
    return getattr(owner, name)


class _SmallArray(np.ndarray):
    """Stand-in for numpy's array in a checkpoint, which allocates whatever size it is called with."""

    def __new__(cls, *_: Any) -> '_SmallArray':
        """Never called by a sound file: `_empty` makes them."""
        raise pickle.UnpicklingError('Unsupported call of numpy.ndarray')

    def __reduce__(self) -> str | tuple:
        return np.array(self, subok=False).__reduce__()


def _empty(kind: type, shape: tuple, code: bytes) -> np.ndarray:
    """Stand-in for numpy's maker of arrays: an empty one, which its state then fills with what the file holds."""
    if kind is not _SmallArray or shape != (0,):
        raise pickle.UnpicklingError(f'Unsupported array of {shape}')
    return np.ndarray.__new__(_SmallArray, (0,), np.int8)


def _plain_globals() -> list:
    """Exactly what mmengine's message hub and argparse put into a checkpoint beside tensors and plain containers."""
    core = getattr(np, '_core', None) or np.core
    return [
        argparse.Namespace,
        HistoryBuffer,
        (_statistic, 'builtins.getattr'),
        (_SmallArray, 'numpy.ndarray'),
        np.dtype,
        *(type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64, np.bool_)),
        (_empty, 'numpy._core.multiarray._reconstruct'),
        (_empty, 'numpy.core.multiarray._reconstruct'),
        (core.multiarray.scalar, 'numpy._core.multiarray.scalar'),
        (core.multiarray.scalar, 'numpy.core.multiarray.scalar'),
    ]
