"""JSON from outside and to files: whatever a text holds, one clear line or the right values."""

import json
import math
import os
import re
from typing import Any

from rs2sam2.errors import DataError
from rs2sam2.files import read_regular

_DEEPEST = 100
# No id, size or area has more digits; longer ones only overflow later, where nobody knows the line any more.
_MOST_DIGITS = 40
_SMALL = 1 << 16
_LARGE = re.compile(rf'\d{{{_MOST_DIGITS + 1}}}|\d[eE]\+?\d{{3}}')


def parse_json(text: str | bytes) -> Any:
    """Parse JSON as RFC 8259 has it, a byte order mark before it allowed; what Python's parser lets through is refused.

    Args:
        text: The JSON text; bytes are UTF-8.

    Returns:
        Its value; all numbers are finite.

    Raises:
        ValueError: It is not whole, has a key twice in one object, NaN or infinity, a number of more than 40 digits, is
            nested more than 100 deep, or is no UTF-8. The text is one line without a file's name.
    """
    if isinstance(text, (bytes, bytearray)):
        text = text.decode('utf-8')
    text = text.removeprefix('\ufeff')
    try:
        # In a large file a call for every number takes as long as all the rest.
        careful = len(text) < _SMALL or _LARGE.search(text)
        numbers: dict[str, Any] = dict(parse_float=_float, parse_int=_int) if careful else {}
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, **numbers)
    except RecursionError:
        raise ValueError(f'it is nested more than {_DEEPEST} deep') from None
    if _too_deep(text) and _depth(value) > _DEEPEST:
        raise ValueError(f'it is nested more than {_DEEPEST} deep')
    return value


def read_json(path: str | os.PathLike, remedy: str = 'fetch it again') -> Any:
    """Read a JSON file; see `parse_json`.

    Raises:
        DataError: It cannot be read or parsed; the text names the file.
    """
    text = read_regular(path, remedy)
    try:
        return parse_json(text)
    except (ValueError, MemoryError) as error:
        raise DataError(f'{path} is not whole JSON ({error}); {remedy}') from error


def json_line(row: Any, indent: int | None = None) -> bytes:
    """One line of a JSON-lines file; with `indent` a JSON file for people.

    A file name that is no UTF-8 reaches Python as halves of surrogate pairs: JSON can spell them, UTF-8 cannot.
    """
    return (
        json.dumps(row, ensure_ascii=False, allow_nan=False, indent=indent).encode('utf-8', 'backslashreplace') + b'\n'
    )


def _object(pairs: list[tuple[str, Any]]) -> dict:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f'the key {key!r:.80} is twice in one object')
            seen.add(key)
    return values


def _constant(name: str) -> None:
    raise ValueError(f'{name} is no number of JSON')


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f'{text:.40} is too large a number')
    return value


def _int(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f'a number of {len(text.lstrip("-")):,} digits')
    return int(text)


def _too_deep(text: str) -> bool:
    """Whether the text has brackets enough for it; nearly no line has."""
    return text.count('[') + text.count('{') > _DEEPEST


def _depth(value: Any) -> int:
    """How deep lists and objects are nested, at most one more than is allowed."""
    level, depth = [value], 0
    while level and depth <= _DEEPEST:
        level = [
            inner
            for one in level
            if isinstance(one, (list, dict))
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, (list, dict))
        ]
        depth += 1
    return depth
