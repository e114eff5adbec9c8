"""Where a model comes from: a config and a checkpoint, or the work dir that training left."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from rs2sam2.engine.launch import load_config
from rs2sam2.engine.work_dir import POINTER, latest_checkpoint
from rs2sam2.errors import CheckpointError, ConfigError, TokenizerError
from rs2sam2.weights.bundle import MANIFEST, is_bundle, read_bundle
from rs2sam2.weights.choice import COMPANIONS
from rs2sam2.weights.hub import Fetched, fetch
from rs2sam2.weights.places import parse_place
from rs2sam2.weights.zoo import (
    Published,
    find_published,
    here,
    how_to_get,
    locate,
    obtain,
    published,
    suggest,
    tokenizer_in,
    tokenizer_of,
)

# By what a folder shows that it holds a tokenizer.
TOKENIZER_FILES = {
    'RefSegTokenizer': ('sentencepiece.bpe.model', 'beit3.spm'),
    'HFTokenizer': tuple(name for name in COMPANIONS if name.startswith(('tokenizer', 'vocab', 'spiece'))),
}


class ModelSource(NamedTuple):
    """What a model is built from.

    Attributes:
        config: the config, its tokenizer's path found.
        config_path: where it was read.
        weights: file, or folder in a published form.
    """

    config: Config
    config_path: Path
    weights: Path


def find_model(model: str | Path, weights: str | Path | None = None) -> ModelSource:
    """Find config and weights.

    Args:
        model: the name of a published model, `hf:user/repo[@revision][/folder]`, or a bundle's folder; a config file;
            or a work dir: then the config that training dumped into it and, without `weights`, its `best_*.pth`, else
            what its `last_checkpoint` names. What is published is fetched where it is not here.
        weights: checkpoint; it may be one of the published files, or a name.

    Raises:
        ConfigError: no config, or several, or a bundle that is refused.
        CheckpointError: no weights, or several that are best, or they cannot be fetched.
        TokenizerError: the config names a tokenizer that is in none of the places where it is looked for.
    """
    text = str(model)
    path = Path(model)
    # Unlike pathlib's, os.path's questions are no error for a name that is too long.
    if path.suffix == '.py' and os.path.isfile(path):
        return _from_config(path, path.parent, weights)
    # A name is meant where it is one, unless a folder of that name holds a model.
    entry = None if _holds_model(path) and not _is_local(text) else find_published(text)
    if entry is not None:
        return _from_published(entry, weights)
    if os.path.isdir(path):
        if is_bundle(path):
            return _from_bundle(path, weights)
        return _from_config(_dumped_config(path), path, weights or _best_checkpoint(path))
    if (place := parse_place(text)) is not None:
        entry = next((one for one in published().values() if one.place == place), None)
        if entry is not None:
            return _from_published(entry, weights)
        folder = fetch(place).folder
        if not is_bundle(folder):
            raise ConfigError(
                f'{place} is no bundle of this package: give a config as the model and {place} as weights'
            )
        return _from_bundle(folder, weights)
    what = 'a checkpoint goes to weights' if os.path.isfile(path) else f'there is none of that name{suggest(text)}'
    raise ConfigError(f'{model} is neither a config (*.py), a work dir or bundle, nor a published model: {what}')


def _from_config(path: Path, folder: Path, weights: str | Path | None) -> ModelSource:
    config = load_config(str(path), None, 'none', None)
    weights = weights or config.get('load_from')
    if weights is None:
        raise CheckpointError(f'{path} alone has no trained weights: name a checkpoint, or give a work dir')
    found = locate(weights)
    place_tokenizer(config, (folder, *_folders_of(found)))
    return ModelSource(config, path, found.weights)


def _from_published(entry: Published, weights: str | Path | None) -> ModelSource:
    if entry.config is None and not isinstance(entry.place, Path):
        raise ConfigError(f'{entry.name} is no whole model: training starts from it (rs2sam2 models lists the models)')
    if entry.config is None:  # the embedded bundle
        return _from_bundle(obtain(entry).folder, weights)
    found = locate(weights) if weights else obtain(entry)
    path = entry.config
    config = load_config(str(path), None, 'none', None)
    place_tokenizer(config, _folders_of(found), entry.needs)
    return ModelSource(config, path, found.weights)


def _from_bundle(folder: Path, weights: str | Path | None) -> ModelSource:
    bundle = read_bundle(folder)
    if bundle.about.get('trained_on'):
        bundle.config.trained_on = str(bundle.about['trained_on'])
    return ModelSource(bundle.config, folder / MANIFEST, locate(weights).weights if weights else bundle.weights)


def _holds_model(path: Path) -> bool:
    return os.path.isdir(path) and (is_bundle(path) or any(path.glob('*.py')))


def _is_local(text: str) -> bool:
    """Whether it is the path under which configs name published files: a folder without a config of ours."""
    return any(entry.local and Path(entry.local) == Path(text) for entry in published().values())


def _folders_of(found: Fetched) -> tuple[Path, ...]:
    """Where a tokenizer may lie: beside the weights, or in a repository's folders above them."""
    parents = found.folder.parents
    depth = next((number for number, parent in enumerate(parents) if parent.name == 'snapshots'), 0)
    return (found.folder, *parents[: max(0, depth)])


def test_pipeline(config: Config) -> list[dict]:
    """The config's pipeline for testing, which fixes the sizes of the views and the tokenizer."""
    loader = config.get('test_dataloader') or {}
    pipeline = loader.get('dataset', {}).get('pipeline') or config.get('test_pipeline')
    if not pipeline:
        raise ConfigError(f'{config.filename} has no test_dataloader.dataset.pipeline, which says how to read images')
    return pipeline


def place_tokenizer(config: Config, folders: Sequence[Path], needs: Sequence[str] = ()) -> None:
    """Find the tokenizer of the test pipeline.

    The copy that training left in the work dir comes first, by the last part of the path, so that a work dir works from
    any folder and can be moved; then a relative path is taken from the current folder, as in training, and from
    `folders`; else a folder itself may be meant, as
    published ones hold weights and tokenizer.

    Args:
        config: changed in place.
        folders: where to look.
        needs: published tokenizers that may be fetched.

    Raises:
        TokenizerError: it is in none of these places.
    """
    for step in test_pipeline(config):
        tokenizer = step.get('tokenizer')
        if not isinstance(tokenizer, dict) or 'path' not in tokenizer:
            continue
        path = Path(tokenizer['path'])
        own = [folder / path.name for folder in folders]
        places = dict.fromkeys((*own, path, *(folder / path for folder in folders)))
        found = next((place for place in places if place.exists()), None)
        if found is None:
            files = TOKENIZER_FILES.get(str(tokenizer.get('type')), ())
            found = next((folder for folder in folders if any((folder / name).is_file() for name in files)), None)
        if found is None:
            found = _published_tokenizer(path, needs)
        if found is None:
            tried = ', '.join(map(str, places))
            entry = tokenizer_of(path)
            remedy = f': {how_to_get(entry)}' if entry else ''
            raise TokenizerError(f'the tokenizer {path} of {config.filename} is missing (looked for {tried}){remedy}')
        tokenizer['path'] = str(found)


def _published_tokenizer(path: Path, needs: Sequence[str]) -> Path | None:
    entry = tokenizer_of(path)
    if entry is None:
        return None
    found = obtain(entry) if entry.name in needs else here(entry)
    return None if found is None else tokenizer_in(found, entry)


def _dumped_config(folder: Path) -> Path:
    configs = sorted(folder.glob('*.py'))
    if not configs:
        raise ConfigError(f'{folder} is no work dir: it holds no config (*.py)')
    if len(configs) > 1:
        names = ', '.join(path.name for path in configs)
        raise ConfigError(f'{folder} holds several configs ({names}): name one of them, and its checkpoint as weights')
    return configs[0]


def _best_checkpoint(folder: Path) -> Path:
    best = sorted(folder.glob('best_*.pth'))
    if len(best) > 1:
        names = ', '.join(path.name for path in best)
        raise CheckpointError(f'{folder} holds several best checkpoints ({names}): name one as weights')
    if best:
        return best[0]
    if (last := latest_checkpoint(folder)) is None:
        raise CheckpointError(
            f'{folder} holds neither best_*.pth nor {POINTER} with the file that it names: name a checkpoint as weights'
        )
    return last
