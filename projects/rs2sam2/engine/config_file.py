"""Reading a config file: what is wrong with one of the files of its chain is said with the file and the line."""

import ast
import codecs
import os
import traceback
from pathlib import Path

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from rs2sam2.errors import ConfigError

CUSTOM_IMPORTS = "custom_imports = dict(imports=['rs2sam2'], allow_failed_imports=False)"
BASE = '_base_'


def read_config_file(path: str) -> Config:
    """Read a config with all that it inherits and import what its `custom_imports` name.

    Args:
        path: config file.

    Raises:
        ConfigError: a file of the chain is missing or no config, its own code fails, a module cannot be imported, or
            `custom_imports` does not name rs2sam2.
    """
    if not os.path.isfile(path):  # unlike pathlib's, no error for a name that is too long
        raise ConfigError(f'{path}: no such config file')
    _refuse_broken_chain(Path(path))
    try:
        cfg = Config.fromfile(path, import_custom_modules=False)
    # A config is code: it may raise anything.
    except Exception as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise ConfigError(f'{_line_of(error) or path}: {type(error).__name__}: {text}') from error
    _import_custom_modules(path, cfg.get('custom_imports'))
    return cfg


def _refuse_broken_chain(path: Path, above: tuple[Path, ...] = ()) -> None:
    """Refuse a file that cannot be parsed, in this one and those that it inherits; mmengine's errors do not name it."""
    content = path.read_bytes()
    if content.startswith(codecs.BOM_UTF8):
        raise ConfigError(f'{path} begins with a byte order mark (BOM): save it as UTF-8 without one')
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f'{path} is no UTF-8 text (byte {error.start + 1}): save it as UTF-8') from error
    if path.suffix != '.py':
        return
    for base in _bases(path, text):
        # mmengine finds the configs of a package.
        if '::' in base or '{{' in base:
            continue
        file = path.parent / base
        if not file.is_file():
            raise ConfigError(f'{path}: {BASE} names {base}, and there is no file {file}')
        if file.resolve() in (*above, path.resolve()):
            raise ConfigError(f'{path}: {BASE} names {base}, which inherits {path} itself')
        _refuse_broken_chain(file, (*above, path.resolve()))


def _bases(path: Path, text: str) -> list[str]:
    """What a config inherits, as far as it is plain text."""
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, 'lineno', None)
        raise ConfigError(f'{path}{f":{line}" if line else ""} is no Python: {error.args[0]}') from error
    for node in module.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', None) == BASE:
            try:
                stated = ast.literal_eval(node.value)
            except ValueError:
                return []
            listed = stated if isinstance(stated, (list, tuple)) else [stated]
            return [one for one in listed if isinstance(one, str)]
    return []


def _line_of(error: Exception) -> str | None:
    """The file and line of a config at which its own code failed."""
    lines = [
        f'{frame.f_code.co_filename}:{number}'
        for frame, number in traceback.walk_tb(error.__traceback__)
        if BASE in frame.f_globals
    ]
    return lines[-1] if lines else None


def _import_custom_modules(path: str, stated: object) -> None:
    stated = stated if isinstance(stated, dict) else {}
    imports = stated.get('imports')
    if not isinstance(imports, (str, list)) or 'rs2sam2' not in imports:
        raise ConfigError(f'{path} does not import rs2sam2: add the line {CUSTOM_IMPORTS}')
    if unknown := sorted(set(stated) - {'imports', 'allow_failed_imports'}):
        raise ConfigError(f'{path}: custom_imports has no {unknown[0]}: write {CUSTOM_IMPORTS}')
    try:
        import_modules_from_strings(**stated)
    except ImportError as error:
        raise ConfigError(
            f'{path}: custom_imports: {error} ({error.__context__}); '
            'a module of your own is found with PYTHONPATH=ITS_FOLDER'
        ) from error
