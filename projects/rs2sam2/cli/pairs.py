"""Which expressions are segmented in which images, and what their outputs are called."""

import csv
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rs2sam2.errors import DataError
from rs2sam2.files import open_regular
from rs2sam2.json_text import parse_json

COLUMNS = 'columns image, expression and, if you like, id'
_FILE_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,119}')


@dataclass(frozen=True, slots=True)
class Pair:
    """An expression in an image.

    Attributes:
        id: unique in a run.
        name: stem of its output files, made from the id.
        image: path.
        expression: the referring expression.
    """

    id: str
    name: str
    image: str
    expression: str


def make_pairs(rows: Iterable[tuple[str, str, str | None]]) -> list[Pair]:
    """Give pairs their ids and file names; the same rows get the same ones.

    Args:
        rows: image, expression, and id or None. Without one the id is made from the image's and the expression's words
            and a hash of both; the second of two equal pairs is numbered.

    Raises:
        DataError: an id is given twice.
    """
    pairs, taken = [], set()
    for image, expression, given in rows:
        identity = given or _identity(image, expression)
        unique, number = identity, 1
        while _file_name(unique).lower() in taken:
            if given:
                raise DataError(
                    f'the id {given!r} stands for two pairs; every pair needs its own (case does not count)'
                )
            number += 1
            unique = f'{identity}-{number}'
        taken.add(_file_name(unique).lower())
        pairs.append(Pair(unique, _file_name(unique), image, expression))
    return pairs


def read_pairs(path: Path, root: Path | None = None) -> list[Pair]:
    """Read pairs from a CSV file with a header (comma, semicolon or tab), or JSON lines.

    Args:
        path: the file, UTF-8.
        root: what relative image paths are relative to; None for the file's own folder.

    Raises:
        DataError: the file or a line cannot be used, named by file:line.
    """
    root = path.parent if root is None else root
    read = {'.csv': _read_csv, '.tsv': _read_csv, '.jsonl': _read_json_lines, '.ndjson': _read_json_lines}
    if path.suffix.lower() not in read:
        raise DataError(f'{path} is not a list of pairs: give .csv or .jsonl with {COLUMNS}')
    rows = []
    try:
        with open_regular(path, 'r', encoding='utf-8-sig', newline='') as file:
            for number, row in read[path.suffix.lower()](file, path):
                image, expression, given = row.get('image'), row.get('expression'), row.get('id')
                if not isinstance(image, str) or not image or not isinstance(expression, str):
                    raise DataError(f'{path}:{number} lacks an image or an expression: {COLUMNS}')
                if given is not None and (not isinstance(given, (str, int)) or isinstance(given, bool)):
                    raise DataError(f'{path}:{number}: the id {given!r} is neither text nor a whole number')
                rows.append((str(root / image), expression, None if given in (None, '') else str(given)))
    except OSError as error:
        raise DataError(f'{path} cannot be read ({error.strerror})') from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f'{path} is no UTF-8 text file of pairs ({error})') from error
    if not rows:
        raise DataError(f'{path} holds no pair: {COLUMNS}')
    return make_pairs(rows)


def cut_batches(pairs: Sequence[Pair], size: int) -> list[list[Pair]]:
    """Batches of `size` pairs; those of one image follow each other, images in order of their first pair."""
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.image, []).append(pair)
    row = [pair for group in groups.values() for pair in group]
    return [row[start : start + size] for start in range(0, len(row), size)]


def _read_csv(file: Iterable[str], path: Path) -> Iterable[tuple[int, dict]]:
    lines = iter(file)
    header = next(lines, '')
    delimiter = max(',;\t', key=header.count)
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    if not {'image', 'expression'} <= set(names):
        raise DataError(f'{path}:1 is no header of a list of pairs: {COLUMNS}')
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise DataError(f'{path}:1 has the column {twice[0]} twice: keep one of them')
    # Strict: a quote that is never closed would swallow all lines after it.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    for values in reader:
        if not values:
            continue
        # An expression with a comma that is not quoted would lose its end.
        if len(values) != len(names):
            raise DataError(
                f'{path}:{reader.line_num + 1} has {len(values)} fields, not {len(names)}: quote text that has commas'
            )
        yield reader.line_num + 1, dict(zip(names, values, strict=True))


def _read_json_lines(file: Iterable[str], path: Path) -> Iterable[tuple[int, dict]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise DataError(f'{path}:{number} is not JSON ({error})') from error
        if not isinstance(row, dict):
            raise DataError(f'{path}:{number} is no JSON object: {COLUMNS}')
        yield number, row


def _identity(image: str, expression: str) -> str:
    return f'{_slug(Path(image).stem)[:40]}-{_slug(expression)[:40]}-{_hash(image, expression)}'.strip('-')


def _file_name(identity: str) -> str:
    if _FILE_NAME.fullmatch(identity):
        return identity
    return f'{_slug(identity)[:80]}-{_hash(identity)}'.strip('-')


def _slug(text: str) -> str:
    return re.sub(r'[^A-Za-z0-9]+', '_', text).strip('_')


def _hash(*parts: str) -> str:
    return hashlib.sha256('\0'.join(parts).encode('utf-8', 'surrogatepass')).hexdigest()[:8]
