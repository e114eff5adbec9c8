"""What is registered under a name of a config, which arguments it takes, and errors that a wrong name ends in."""

import inspect
import os
import re
import traceback
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import NamedTuple

import mmengine.registry
import mmseg.registry
from mmengine.registry import Registry

from rs2sam2.errors import ConfigError
from rs2sam2.terminal import shortened

# How Python refuses the arguments of a call, and how mmengine refuses a name.
WRONG_ARGUMENTS = re.compile(r'(?:(.*)\.)?__init__\(\) ((?:got an unexpected|missing).*)')
WRONG_NAME = re.compile(r'(\S+) is not in the (\S+) registry\.')
WITHOUT_TYPE = re.compile(r'must contain the key "type", but got (\{.*\})')
# Where values of a config are looked at, which are wrong where they are refused.
CHECKING = re.compile(r'/mmengine/runner/\w+\.py$|/rs2sam2/models/')
BUILDERS = {'build_from_cfg', 'build_dataloader', 'get_instance'}


def registries() -> list[Registry]:
    """Every registry that a config may name parts of, with those of other packages."""
    found: dict[int, Registry] = {}

    def add(registry: Registry) -> None:
        if id(registry) not in found:
            found[id(registry)] = registry
            for child in registry.children.values():
                add(child)

    for module in (mmengine.registry, mmseg.registry):
        for value in vars(module).values():
            if isinstance(value, Registry):
                add(value)
    return list(found.values())


def named(kind: str | Callable) -> list[Callable]:
    """What is registered under a name, in whichever registry; a class stands for itself."""
    if not isinstance(kind, str):
        return [kind]
    name = kind.rpartition('.')[2]
    return [registry.module_dict[name] for registry in registries() if name in registry.module_dict]


class Arguments(NamedTuple):
    """What a part takes.

    Attributes:
        names: the arguments that it names.
        is_all: whether it takes no others.
    """

    names: set[str]
    is_all: bool


def arguments(kind: str | Callable) -> Arguments:
    """What a registered part takes; nothing is known of a name that is not registered, or twice.

    A class that hands on `**kwargs` takes what its parents take.
    """
    found = set(named(kind))
    names: set[str] = set()
    if len(found) != 1:
        return Arguments(names, False)
    for call in _calls(*found):
        parameters = inspect.signature(call).parameters.values()
        names |= {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
        if not any(one.kind == one.VAR_KEYWORD for one in parameters):
            return Arguments(names - {'self'}, True)
    # The last **kwargs may go anywhere.
    return Arguments(names - {'self'}, False)


def _calls(part: Callable) -> Iterator[Callable]:
    if not inspect.isclass(part):
        yield part
        return
    for cls in inspect.getmro(part):
        if '__init__' in vars(cls) and cls is not object:
            yield vars(cls)['__init__']


def near(name: str, names: set[str], cutoff: float = 0.7) -> str:
    """' (did you mean ...?)' for a name that is nearly one of others, else ''."""
    close = get_close_matches(str(name), sorted(map(str, names)), 1, cutoff)
    return f' (did you mean {close[0]}?)' if close else ''


def config_mistake(error: Exception) -> ConfigError | None:
    """What a user needs to know of an error by which a part could not be built from the config; None for others."""
    frames = [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, TypeError) and (found := WRONG_ARGUMENTS.fullmatch(str(error))):
        # The innermost frame called what refused: a builder, or a part that hands on its arguments.
        if BUILDERS & set(frames) and frames[-1] in BUILDERS | {'__init__'}:
            guess = near(found[2].split("'")[1], arguments(found[1] or '').names) if "'" in found[2] else ''
            return ConfigError(f'the config does not fit {found[1] or "a part"}: {found[2]}{guess}')
    elif isinstance(error, KeyError) and error.args and (found := WRONG_NAME.match(str(error.args[0]))):
        name, registry = found.groups()
        names = {one for each in registries() for one in each.module_dict if str(each.name) == registry.split('::')[-1]}
        return ConfigError(
            f'the config names the type {name}, which is not in the registry {registry}{near(name, names)}: '
            'mend the name, or add the module that registers it to custom_imports'
        )
    elif isinstance(error, TypeError | ValueError) and _is_refusal(error):
        return ConfigError(f'the config does not fit: {shortened(" ".join(str(error).split()), 400)}')
    elif isinstance(error, KeyError) and error.args and (found := WITHOUT_TYPE.search(str(error.args[0]))):
        return ConfigError(f'a part of the config has no type: {shortened(found[1], 200)}')
    return None


def _is_refusal(error: Exception) -> bool:
    """Whether an error was raised on purpose, by what looks at arguments: mmengine's runner, or one of our modules."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return (last.line or '').startswith('raise ') and bool(CHECKING.search(last.filename.replace(os.sep, '/')))
