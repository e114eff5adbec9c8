"""Where a model comes from: a config and a checkpoint, or the work dir that training left."""

from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from rs2sam2.engine.launch import load_config
from rs2sam2.engine.work_dir import POINTER, latest_checkpoint
from rs2sam2.errors import CheckpointError, ConfigError, TokenizerError
from rs2sam2.models.protocol import ReferringSegmentor
from rs2sam2.weights.bundle import MANIFEST, is_bundle, read_bundle


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


class SceneDefaults(NamedTuple):
    """How a model wants scenes cut.

    Attributes:
        window: side of a window in pixels.
        gsd: metres a pixel that it was trained at; None where nobody said.
    """

    window: int
    gsd: float | None


def find_model(model: str | Path, weights: str | Path | None = None) -> ModelSource:
    """Find config and weights.

    Args:
        model: a config file; or a bundle (see `weights/bundle.py`); or a work dir: then the config that training
            dumped into it and, without `weights`, its `best_*.pth`, else what its `last_checkpoint` names.
        weights: checkpoint; it may be one of the published files.

    Raises:
        ConfigError: no config, or several.
        CheckpointError: no weights, or several that are best.
        TokenizerError: the config names a tokenizer that is in none of the places where it is looked for.
    """
    model = Path(model)
    folder = model if model.is_dir() else None
    if folder is None and model.suffix != '.py':
        what = 'a checkpoint goes to weights' if model.is_file() else 'there is none of that name'
        raise ConfigError(f'{model} is neither a config (*.py) nor a work dir: {what}')
    if folder is not None and is_bundle(folder):
        bundle = read_bundle(folder)
        return ModelSource(bundle.config, folder / MANIFEST, Path(weights) if weights else bundle.weights)
    path = model if folder is None else _dumped_config(folder)
    config = load_config(str(path), None, 'none', None)
    if weights is None:
        weights = _best_checkpoint(folder) if folder else config.get('load_from')
    if weights is None:
        raise CheckpointError(f'{path} alone has no trained weights: name a checkpoint, or give a work dir')
    place_tokenizer(config, folder or path.parent)
    return ModelSource(config, path, Path(weights))


def test_pipeline(config: Config) -> list[dict]:
    """The config's pipeline for testing, which fixes the sizes of the views and the tokenizer."""
    loader = config.get('test_dataloader') or {}
    pipeline = loader.get('dataset', {}).get('pipeline') or config.get('test_pipeline')
    if not pipeline:
        raise ConfigError(f'{config.filename} has no test_dataloader.dataset.pipeline, which says how to read images')
    return pipeline


def scene_defaults(config: Config, model: ReferringSegmentor) -> SceneDefaults:
    """What the config says under `scene = dict(window=..., gsd=...)`; else windows of the size of the model's view."""
    stated = config.get('scene', {})
    return SceneDefaults(stated.get('window', model.input_spec.image_size), stated.get('gsd'))


def place_tokenizer(config: Config, folder: Path) -> None:
    """Find the tokenizer of the test pipeline.

    A relative path is taken from the current folder, as in training; else from `folder`, whole or by its last part, so
    that a work dir with its tokenizer beside the checkpoint can be moved.

    Raises:
        TokenizerError: it is in none of these places.
    """
    for step in test_pipeline(config):
        tokenizer = step.get('tokenizer')
        if not isinstance(tokenizer, dict) or 'path' not in tokenizer:
            continue
        path = Path(tokenizer['path'])
        places = dict.fromkeys((path, folder / path, folder / path.name))
        found = next((place for place in places if place.exists()), None)
        if found is None:
            tried = ', '.join(map(str, places))
            raise TokenizerError(f'the tokenizer {path} of {config.filename} is missing (looked for {tried})')
        tokenizer['path'] = str(found)


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
