"""`--cfg-options key=value`: read, and refused where it would change nothing or name what is not there."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config, DictAction

from rs2sam2.engine.config_keys import SECTIONS, has_no
from rs2sam2.errors import ConfigError

FLAG = '--cfg-options'


class CfgOptions(DictAction):
    """mmengine's `DictAction`, which says what is no `key=value`."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: list[str], option_string: str | None = None
    ) -> None:
        """Add pairs to the namespace; raises `ConfigError` for what is none."""
        for pair in values:
            key, sign, _ = pair.partition('=')
            if not sign or not all(part.strip() == part != '' for part in key.split('.')):
                raise ConfigError(f'{FLAG} {pair}: write key=value, with no space beside the "="')
            try:
                super().__call__(parser, namespace, [pair], option_string)
            except (AssertionError, RecursionError) as error:
                raise ConfigError(f'{FLAG} {pair}: its brackets do not fit each other') from error


def merge_options(cfg: Config, options: dict[str, Any]) -> None:
    """Change a config by what the command line says.

    A key that the config has not is taken where the part that it is for takes such an argument.

    Args:
        cfg: is changed in place.
        options: values by dotted keys, a number being an index into a list.

    Raises:
        ConfigError: a key leads nowhere.
    """
    for option in options:
        _refuse_nowhere(cfg, option, options)
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f'{FLAG} {" ".join(options)}: {error}') from error


def _refuse_nowhere(cfg: Config, option: str, options: dict[str, Any]) -> None:
    """Walk down a key until the config has no more of it."""
    node: Any = cfg._cfg_dict
    path: list[str] = []
    for key in option.split('.'):
        where = '.'.join(path)
        if isinstance(node, dict):
            if not path and key in node and key not in SECTIONS:
                _refuse_variable(cfg, option, key)
            if key not in node:
                _refuse_unknown(node, path, key, option, options)
            node = node.get(key, {})
        elif isinstance(node, list):
            if not key.isdigit() or int(key) >= len(node):
                raise ConfigError(f'{FLAG} {option}: {where} is a list of {len(node)}, it has no entry {key}')
            node = node[int(key)]
        elif options.get(f'{where}._delete_'):
            return
        else:
            raise ConfigError(
                f'{FLAG} {option}: {where} is {node!r} and has no {key}; {where}._delete_=True puts new parts there'
            )
        path.append(key)


def _refuse_variable(cfg: Config, option: str, name: str) -> None:
    """Refuse to change what a config file was only written with, which changes nothing any more."""
    value = cfg[name]
    if not isinstance(value, (str, list, tuple, dict)):
        return
    places = [place for section in SECTIONS & set(cfg) for place in _places(cfg[section], value, section)]
    if places:
        shown = ', '.join(sorted(places)[:3])
        raise ConfigError(
            f'{FLAG} {option}: {name} is a variable of the config file, changing it now would change nothing; '
            f'it went into {shown}{", ..." if len(places) > 3 else ""}: set these'
        )


def _places(node: Any, value: Any, path: str) -> Iterator[str]:
    if type(node) is type(value) and node == value:
        yield path
    elif isinstance(node, dict):
        for key, one in node.items():
            yield from _places(one, value, f'{path}.{key}')
    elif isinstance(node, (list, tuple)):
        for index, one in enumerate(node):
            yield from _places(one, value, f'{path}.{index}')


def _refuse_unknown(node: dict, path: list[str], key: str, option: str, options: dict[str, Any]) -> None:
    """Refuse a key that a part of the config has not: the part does not take it, or something like it is there."""
    where = '.'.join(path)
    if where == 'default_hooks' and f'{where}.{key}.type' in options:
        return
    if (said := has_no(node, where, key, options.get(f'{where}.type', node.get('type')))) is not None:
        raise ConfigError(f'{FLAG} {option}: {said}')
