"""Vector files that a user names: opened as what their names say, in the encoding that their words have."""

import codecs
import os
from pathlib import Path

import numpy as np

from rs2sam2.errors import ConfigError, DataError
from rs2sam2.files import require_regular, require_utf8

SHAPEFILES = ('.shp', '.dbf')
_MAGIC = {'.gpkg': b'SQLite format 3', '.shp': b'\0\0\x27\x0a', '.fgb': b'fgb'}
_JSON = ('.geojson', '.json', '.topojson', '.geojsonl')
# Texts by which a file stands for others, for a data base or for a service.
_REFERRING = (b'<OGRVRT', b'<OGRWFS', b'<OGCAPI', b'<OGRCSW', b'gdal vector pipeline', b'"gdal_streamed_alg"')
_NAMED_SO = ('.vrt', '.xml', '.gdalg')


def check_vector(path: str | os.PathLike) -> list[str]:
    """Look at a vector file before GDAL does, which goes by content and not by name.

    Returns:
        What the user should know.

    Raises:
        DataError: It is missing, is no regular file, or holds something other than its name says.
    """
    path = Path(path)
    require_utf8(path)
    try:
        if not path.is_dir():  # some formats are folders
            require_regular(path)
    except OSError as error:
        raise DataError(f'{path} is missing; check the path') from error
    if path.is_dir():
        return []
    with path.open('rb') as file:
        start = file.read(4096).lstrip(b'\xef\xbb\xbf \t\r\n') if path.suffix.lower() not in _MAGIC else file.read(4096)
    suffix = path.suffix.lower()
    refers = any(mark in start for mark in _REFERRING)
    if suffix in _NAMED_SO:
        return [f'{path} is a virtual file: its features come from elsewhere'] if refers else []
    if refers or not start.startswith(_MAGIC.get(suffix, b'{' if suffix in _JSON else b'')):
        raise DataError(
            f'{path} cannot be read as a vector file (its content is not what its name says); is it whole? A file that '
            'refers to others is named .vrt'
        )
    return []


def gdal_reason(error: Exception, path: str | os.PathLike) -> str:
    """What GDAL says of a vector file, without its advice to programmers."""
    text = ' '.join(str(error).split()).partition('; It might help')[0]
    return text.replace(os.fspath(path), Path(path).name)


def check_encoding(path: str | os.PathLike, encoding: str | None) -> None:
    """Refuse an encoding that is none, or a file that says its own.

    Raises:
        ConfigError: It is one of these.
    """
    if encoding is None:
        return
    if Path(path).suffix.lower() not in SHAPEFILES:
        raise ConfigError(f'{path} says itself how its words are encoded; leave out the encoding, it is for shapefiles')
    try:
        codecs.lookup(encoding)
    except (LookupError, ValueError) as error:
        raise ConfigError(f'{encoding!r} is no encoding; write UTF-8, GBK, Shift_JIS, cp1252 or another') from error


def encoding_notes(path: str | os.PathLike, encoding: str | None, words: np.ndarray) -> list[str]:
    """Say how words were read that no .cpg file tells how to read.

    Args:
        path: The file.
        encoding: What the user named.
        words: Texts or None, as they were read.
    """
    path = Path(path)
    if encoding is not None or path.suffix.lower() not in SHAPEFILES:
        return []
    if any(one.suffix.lower() == '.cpg' and one.stem == path.stem for one in path.parent.iterdir()):
        return []
    with path.with_suffix('.dbf').open('rb') as file:
        if file.read(30)[29:30] not in (b'', b'\0'):  # the table itself says it
            return []
    foreign = [word for word in words if word is not None and not word.isascii()]
    if not foreign:
        return []
    return [
        f'{path} does not say how its words are encoded (no .cpg file): they were read as ISO-8859-1, such as '
        f'{foreign[0]!r}; if that looks wrong{_guess(foreign)}, name the encoding with --encoding (UTF-8, GBK, ...)'
    ]


def _guess(words: list[str]) -> str:
    try:
        return f' (in UTF-8 it is {words[0].encode("latin-1").decode("utf-8")!r})'
    except UnicodeError:
        return ''
