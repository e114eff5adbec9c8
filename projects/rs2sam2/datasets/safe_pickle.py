"""Reads a pickle of plain containers; one that asks for anything else never gets to run it."""

import builtins
import os
import pickle
from typing import Any

from rs2sam2.errors import DataError

# Both names of the module: Python 2 wrote `__builtin__`. Nothing here runs code when it is called.
_PLAIN = {(module, name) for module in ('builtins', '__builtin__') for name in ('set', 'frozenset', 'bytearray')}


class _RefusedGlobal(Exception):
    """The pickle names a class or function that is not a plain container."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise _RefusedGlobal(f'{module}.{name}')
        return getattr(builtins, name)


def load_plain_pickle(path: str | os.PathLike) -> Any:
    """Read a pickle that holds only plain containers, strings and numbers.

    Args:
        path: The file.

    Returns:
        What the file holds.

    Raises:
        DataError: The file is missing, is not a whole pickle, or asks for a class or function (refused, never called).
    """
    try:
        with open(path, 'rb') as file:
            return _PlainUnpickler(file, encoding='utf-8').load()
    except OSError as error:
        raise DataError(f'cannot read {path}: {error.strerror}; check data_root and ann_file') from error
    except _RefusedGlobal as error:
        raise DataError(
            f'{path} asks for {error}, which a file of plain lists and dicts has no use for and which could run code: '
            'refused; get the file from a source you trust'
        ) from error
    except Exception as error:  # garbage bytes make the unpickler raise nearly any kind
        text = ' '.join(str(error).split()) or type(error).__name__
        raise DataError(f'{path} is not a whole pickle ({text}); fetch it again') from error
