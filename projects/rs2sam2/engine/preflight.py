"""What a run needs and does not find: told all at once, before anything is built."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmseg.registry import DATASETS

from rs2sam2.errors import CheckpointError, ConfigError, RefSegError
from rs2sam2.weights.places import parse_place
from rs2sam2.weights.zoo import Published, find_published, how_to_get, locate, tokenizer_in, tokenizer_of

TOKENIZERS = ('RefSegTokenizer', 'HFTokenizer')


def require_inputs(cfg: Config, splits: Sequence[str]) -> None:
    """Look for weights, tokenizers and data sets of a run; what is named by a published name or place is fetched.

    Args:
        cfg: the config; a tokenizer that lies in the cache gets its path there.
        splits: whose data loaders are used, of 'train', 'val' and 'test'.

    Raises:
        ConfigError: something is missing. The one line lists all of it, and where each comes from.
    """
    loaders = [cfg.get(f'{split}_dataloader') or {} for split in splits]
    datasets = [one for loader in loaders for one in _datasets(loader.get('dataset'))]
    roots: dict[str, str] = {}
    problems = []
    for text in weights_of(cfg):
        try:
            locate(text)
        except CheckpointError as error:
            problems.append(f'weights {error}')
    for dataset in datasets:
        for path, problem in _missing_data(dataset):
            roots.setdefault(path, problem)
    for tokenizer in _tokenizers(datasets):
        if missing := _place_tokenizer(tokenizer, list(roots)):
            problems.append(missing)
    problems = [*dict.fromkeys(problems), *(f'data {problem}' for problem in roots.values())]
    if len(problems) == 1:
        raise ConfigError(problems[0].partition(' ')[2])
    if problems:
        listed = '; '.join(f'({number}) {problem}' for number, problem in enumerate(problems, 1))
        command = f'; all published ones: rs2sam2 download --for {cfg.filename}' if published_inputs(cfg) else ''
        raise ConfigError(f'{cfg.filename} needs {len(problems)} inputs that are not here: {listed}{command}')


def weights_of(cfg: Config) -> list[str]:
    """Weights that a config starts from: every `OfficialWeights` of the model, and `load_from`."""
    found = [part['checkpoint'] for part in _parts(cfg.get('model')) if part.get('type') == 'OfficialWeights']
    # A training that is resumed reads its own checkpoint instead.
    found += [] if cfg.get('resume') else [cfg.get('load_from')]
    return list(dict.fromkeys(filter(None, found)))


def published_inputs(cfg: Config) -> list[Published]:
    """What a config needs of what is published, as entries of the table."""
    tokenizers = [one.get('path') for key in cfg if key.endswith('_dataloader') for one in _parts(cfg[key])]
    texts = [*weights_of(cfg), *(path for path in tokenizers if path)]
    entries = [find_published(text) or tokenizer_of(text) for text in map(str, texts)]
    entries += [find_published(need) for entry in entries if entry for need in entry.needs]
    return list(dict.fromkeys(entry for entry in entries if entry))


def _place_tokenizer(tokenizer: dict, missing_roots: Sequence[str]) -> str | None:
    """Find a tokenizer; the problem where it is missing, unless the data set that holds it is."""
    path = tokenizer['path']
    if Path(path).exists() or any(Path(path).is_relative_to(root) for root in missing_roots):
        return None
    entry = tokenizer_of(path)
    if entry is None and parse_place(str(path)) is None:
        return f'tokenizer {path} is missing: set its path to where it lies'
    try:
        found = locate(entry.local if entry and entry.local else path)
    except CheckpointError:
        return f'tokenizer {path} is missing: {how_to_get(entry) if entry else path}'
    tokenizer['path'] = str(tokenizer_in(found, entry))
    return None


def _missing_data(cfg: dict) -> Iterator[tuple[str, str]]:
    """(path, what to say of it) of a data set's root, or of its files and folders, that are not there."""
    kind = DATASETS.get(cfg['type']) if isinstance(cfg.get('type'), str) else cfg.get('type')
    metainfo = {**getattr(kind, 'METAINFO', {}), **(cfg.get('metainfo') or {})}
    name, place = metainfo.get('dataset_name', 'the data set'), metainfo.get('published_at')
    origin = f'{name}: {place}' if place else name
    root = cfg.get('data_root')
    if root and not os.path.isdir(root):
        yield root, f'data_root {root} is not a folder; set data_root to where the data set lies ({origin})'
        return
    try:
        # Without its meta information, whose texts mmengine would look for as files.
        dataset = DATASETS.build({**cfg, 'lazy_init': True, 'pipeline': [], 'metainfo': None})
    except (RefSegError, TypeError, ValueError, KeyError, AttributeError):
        # Building it in earnest says what is wrong with it.
        return
    prefixes = (getattr(dataset, 'data_prefix', None) or {}).values()
    paths = [getattr(dataset, key, None) for key in ('ann_file', 'instances_file')]
    for path in (*paths, *prefixes):
        if path and isinstance(path, str) and not os.path.exists(path):
            yield path, f'{path} is missing ({origin})'


def _datasets(cfg: Any) -> Iterator[dict]:
    """A data set's config, or those within its wrappers."""
    if not isinstance(cfg, dict):
        return
    inner = [*(cfg.get('datasets') or ()), *filter(None, [cfg.get('dataset')])]
    if inner:
        for one in inner:
            yield from _datasets(one)
    else:
        yield cfg


def _tokenizers(datasets: Sequence[dict]) -> list[dict]:
    return [part for part in _parts(datasets) if part.get('type') in TOKENIZERS and part.get('path')]


def _parts(value: Any) -> Iterator[dict]:
    """Every dict in a config."""
    if isinstance(value, dict):
        yield value
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return
    for one in value:
        yield from _parts(one)
