"""Bundles: a folder that holds a whole model and runs no code.

    bundle.json            what is built: model, pipeline, scene, and what is known of it; plain JSON
    model.safetensors      the weights
    tokenizer/             the tokenizer's files
    README.md              the model card

A config of mmengine's runs code: a Python file is executed, and a `type` with a dot in it is imported, whatever it
names. A bundle's `type` is the name of one of this package's own components and nothing else.
"""

import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import Registry
from mmseg.registry import MODELS, TRANSFORMS
from torch import Tensor

from rs2sam2.errors import ConfigError, OutputError, TokenizerError
from rs2sam2.weights.choice import TOKENIZER
from rs2sam2.weights.files import open_state_dict, save_state_dict

MANIFEST, WEIGHTS, CARD = 'bundle.json', 'model.safetensors', 'README.md'
FORMAT = 1
PACKAGE = 'rs2sam2'
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
# All that a bundle has a use for: its parts, and pictures of its card.
SUFFIXES = ('.json', '.safetensors', '.md', '.txt', '.model', '.spm', '.png', '.jpg', '.jpeg', '.webp', '.svg')
NAMES = ('LICENSE', 'LICENCE', 'NOTICE')
MAX_BYTES, MAX_DEPTH, MAX_FILES, MAX_NUMBER, MAX_TEXT = 1 << 20, 20, 1000, 10_000_000, 1000
_KEYS = {'format': int, 'model': dict, 'pipeline': list, 'scene': dict, 'about': dict}
# What may be a folder's name elsewhere; here it is values.
_DESCRIBED = ('towers', 'bert', 'tokenizer')
# How many layers there are; each of them has tensors of its own.
_LAYERS = ('depth', 'depths', 'stages', 'num_hidden_layers', 'learning_layers', 'num_kernels')
# What an argument of a component may not be: these read files, fetch or build things of their own.
_FORBIDDEN = ('init_cfg', 'pretrained', 'checkpoint', 'custom_imports', 'trust_remote_code', 'auto_map', 'backend_args')


class Bundle(NamedTuple):
    """A bundle that was read and checked.

    Attributes:
        config: `model`, `test_pipeline` (its tokenizer's path found) and `scene`.
        weights: the file of weights.
        about: what is known of the model: `name`, `trained_on`, `licence`, `scores` ...
    """

    config: Config
    weights: Path
    about: dict[str, Any]


def is_bundle(folder: Path) -> bool:
    """Whether a folder says that it is a bundle."""
    return (folder / MANIFEST).is_file()


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle; nothing in it is run or imported.

    Raises:
        ConfigError: it is no bundle, damaged, or holds what a bundle must not hold; one line names the file and key.
    """
    _check_files(folder)
    manifest = folder / MANIFEST
    content = _read_json(manifest)
    for key in sorted(set(content) - set(_KEYS)):
        raise ConfigError(f'{manifest}: {key!r} does not belong into a bundle (there are {", ".join(_KEYS)})')
    for key, kind in _KEYS.items():
        if type(content.get(key)) is not kind:
            raise ConfigError(f'{manifest}: {key!r} is missing or no {kind.__name__}')
    if content['format'] != FORMAT:
        raise ConfigError(f'{manifest}: format {content["format"]}, this version reads {FORMAT}: update rs2sam2')
    _check_parts(content['model'], f'{manifest}: model', MODELS)
    for number, step in enumerate(content['pipeline']):
        _check_parts(step, f'{manifest}: pipeline[{number}]', TRANSFORMS)
        _place_tokenizer(step, folder, f'{manifest}: pipeline[{number}]')
    if not any('tokenizer' in step for step in content['pipeline']):
        raise ConfigError(f'{manifest}: pipeline has no step with a tokenizer')
    _check_plain(content['scene'], f'{manifest}: scene')
    _check_plain(content['about'], f'{manifest}: about')
    trained_on = content['about'].get('trained_on')
    if trained_on is not None and not (isinstance(trained_on, str) and len(trained_on) <= MAX_TEXT):
        raise ConfigError(f'{manifest}: about.trained_on is no text of at most {MAX_TEXT} letters')
    _check_layers(content['model'], f'{manifest}: model', folder / WEIGHTS)
    config = Config(dict(model=content['model'], test_pipeline=content['pipeline'], scene=content['scene']))
    return Bundle(config, folder / WEIGHTS, content['about'])


def write_bundle(
    folder: Path,
    model: Mapping[str, Any],
    pipeline: list[dict],
    scene: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    about: Mapping[str, Any],
    card: str,
    dtype: str = 'fp32',
) -> None:
    """Write a bundle whole or not at all.

    Args:
        folder: to be made; there must be nothing yet.
        model: config of the model; what only training needs is left out.
        pipeline: the test pipeline without what reads files; the tokenizer's files are copied from its `path`.
        scene: the config's `scene`.
        tensors: the weights by our names.
        about: plain values: `name`, `trained_on`, `licence`, `scores` ...
        card: text of the model card.
        dtype: what the weights are stored in, 'fp32', 'bf16' or 'fp16'.

    Raises:
        ConfigError: the config holds what a bundle cannot hold, such as a part that this package does not bring.
        OutputError: the folder is there already or cannot be written.
    """
    if folder.exists():
        raise OutputError(f'{folder} is there already: name a new folder')
    unfinished = folder.with_name(f'.{folder.name}.unfinished')
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        steps = [_with_own_tokenizer(json.loads(json.dumps(step, default=_refuse)), unfinished) for step in pipeline]
        content = dict(
            format=FORMAT,
            model=_without(json.loads(json.dumps(model, default=_refuse)), _FORBIDDEN),
            pipeline=steps,
            scene=dict(scene),
            about=dict(about),
        )
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (unfinished / MANIFEST).write_text(text + '\n', encoding='utf-8')
        (unfinished / CARD).write_text(card, encoding='utf-8')
        stored = {name: _stored(tensor, DTYPES[dtype]) for name, tensor in tensors.items()}
        save_state_dict(unfinished / WEIGHTS, stored, dict(source='own', dtype=dtype))
        # What was written is what a reader takes, or nobody gets it.
        read_bundle(unfinished)
        unfinished.rename(folder)
    except OSError as error:
        raise OutputError(f'{folder} cannot be written ({error.strerror or error})') from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _check_files(folder: Path) -> None:
    """Refuse files that do not belong there: code, pickles, links out of the folder."""
    home = folder.resolve()
    # A hub's cache keeps a snapshot's files as links into its own store beside it.
    snapshot = next((one for one in (home, *home.parents) if one.parent.name == 'snapshots'), None)
    homes = [home] if snapshot is None else [home, snapshot.parents[1] / 'blobs']
    number = 0
    for path in sorted(folder.rglob('*')):
        # Of git's folder and the hub client's nothing is read.
        if any(part.startswith('.') for part in path.relative_to(folder).parts):
            continue
        number += 1
        if number > MAX_FILES:
            raise ConfigError(f'{folder} holds more than {MAX_FILES} files, it is no bundle')
        real = Path(os.path.realpath(path))  # unlike pathlib's, no error for a link to itself
        if not any(real.is_relative_to(one) for one in homes) or not (real.is_file() or real.is_dir()):
            raise ConfigError(f'{path} is no file of the bundle (it leads to {real}): remove it')
        if real.is_file() and path.suffix.lower() not in SUFFIXES and path.name not in NAMES:
            raise ConfigError(f'{path}: a bundle holds no code, no pickles and nothing else of its kind: remove it')
    if not (folder / WEIGHTS).is_file():
        raise ConfigError(f'{folder} is no whole bundle: {WEIGHTS} is missing, fetch it anew')


def _read_json(path: Path) -> dict:
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f'{path} has {path.stat().st_size:,} bytes, more than a bundle needs ({MAX_BYTES:,})')
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError, OSError) as error:
        raise ConfigError(f'{path} is no JSON of a bundle ({str(error)[:200]}): fetch it anew') from None
    if not isinstance(content, dict):
        raise ConfigError(f'{path} is no JSON object: fetch the bundle anew')
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError('a key stands twice')
    return content


def _no_number(text: str) -> float:
    raise ValueError(f'{text} is no number')


def _walk(value: Any, where: str, depth: int = 0) -> Iterator[tuple[str, str | None, Any]]:
    """Every value with its place and, in an object, its key."""
    if depth > MAX_DEPTH:
        raise ConfigError(f'{where} is nested more than {MAX_DEPTH} deep')
    if not isinstance(value, (dict, list)):
        return
    items: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in items:
        place = f'{where}.{key}' if isinstance(value, dict) else f'{where}[{key}]'
        yield place, key if isinstance(value, dict) else None, one
        yield from _walk(one, place, depth + 1)


def _check_plain(value: Any, where: str) -> None:
    for place, key, one in _walk(value, where):
        if key is not None and key.startswith('_'):
            raise ConfigError(f'{place}: keys with _ in front do not belong into a bundle')
        if isinstance(one, (int, float)) and not (math.isfinite(one) and abs(one) <= MAX_NUMBER):
            raise ConfigError(f'{place} is {str(one)[:40]}: a bundle needs no such number')


def _check_parts(value: Any, where: str, registry: Registry) -> None:
    """Refuse every `type` that is not the name of a component of this package."""
    if not isinstance(value, dict):
        raise ConfigError(f'{where} is no object with a type')
    _check_plain(value, where)
    if 'type' not in value:
        raise ConfigError(f'{where} has no type')
    for place, key, one in ((where, None, value), *_walk(value, where)):
        if key in _FORBIDDEN:
            raise ConfigError(f'{place} does not belong into a bundle: it would read other files or run code')
        if key in _DESCRIBED and not isinstance(one, (dict, type(None))):
            raise ConfigError(f'{place} is {one!r}: a bundle describes it by values and names no folder')
        if registry is MODELS and isinstance(one, str) and ('/' in one or '\\' in one):
            raise ConfigError(f'{place} is {one!r}: a model of a bundle names no files')
        if isinstance(one, dict) and 'type' in one:
            _require_component(one['type'], f'{place}.type')
    if value['type'] not in registry.module_dict:
        raise ConfigError(f'{where}.type is {value["type"]!r}, which is none of {registry.name}')


def _check_layers(model: dict, where: str, weights: Path) -> None:
    """Refuse more layers than the weights can fill, before the first is built."""
    tensors = len(open_state_dict(weights))
    for place, key, one in _walk(model, where):
        if key in _LAYERS:
            counts = [count for count in (one if isinstance(one, list) else [one]) if isinstance(count, (int, float))]
            if sum(counts) > tensors:
                raise ConfigError(
                    f'{place} is {one}, and {weights} holds {tensors} tensors: the two do not belong together'
                )


def _require_component(name: Any, where: str) -> None:
    known = MODELS.module_dict | TRANSFORMS.module_dict
    found = known.get(name) if isinstance(name, str) else None
    if found is None or found.__module__.split('.')[0] != PACKAGE:
        raise ConfigError(
            f'{where} is {name!r}, no component of {PACKAGE}, and a bundle runs no other code: give a config and a '
            'checkpoint'
        )


def _place_tokenizer(step: dict, folder: Path, where: str) -> None:
    tokenizer = step.get('tokenizer')
    if tokenizer is None:
        return
    if not isinstance(tokenizer, dict) or not isinstance(tokenizer.get('path'), str):
        raise ConfigError(f'{where}.tokenizer has no path')
    try:
        path = Path(os.path.realpath(folder / tokenizer['path']))
        is_there = path.is_relative_to(folder.resolve() / TOKENIZER) and os.path.exists(path)
    except ValueError:  # a null byte
        is_there = False
    if not is_there:
        raise ConfigError(
            f'{where}.tokenizer.path is {tokenizer["path"][:200]!r}, nothing below {TOKENIZER}/ of the bundle'
        )
    tokenizer['path'] = str(folder / tokenizer['path'])


def _with_own_tokenizer(step: dict, folder: Path) -> dict:
    """The step with a tokenizer whose files are in the bundle."""
    if 'tokenizer' in step:
        source, target = Path(step['tokenizer']['path']), folder / TOKENIZER
        if not source.exists():
            raise TokenizerError(f'the tokenizer {source} is missing: a bundle brings it along')
        if source.is_dir():
            shutil.copytree(source, target)
            step['tokenizer']['path'] = TOKENIZER
        else:
            target.mkdir()
            shutil.copy(source, target / source.name)
            step['tokenizer']['path'] = f'{TOKENIZER}/{source.name}'
    return step


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _without(value: Any, keys: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _without(one, keys) for key, one in value.items() if key not in keys}
    return [_without(one, keys) for one in value] if isinstance(value, list) else value


def _refuse(value: object) -> None:
    if callable(value):
        raise ConfigError(f'{value!r} in the config is code: a bundle holds plain values only')
    raise ConfigError(f'{value!r} in the config is no plain value: a bundle holds numbers, texts, lists and objects')
