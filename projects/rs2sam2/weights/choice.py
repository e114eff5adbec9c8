"""Which files of a published folder are the model: its weights in whatever form, its description and its tokenizer."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rs2sam2.errors import CheckpointError
from rs2sam2.json_text import parse_json
from rs2sam2.weights.files import FOLDER_FILES, PICKLE_SUFFIXES
from rs2sam2.weights.places import SCHEME, HubPlace

# What a folder may hold beside its weights that a model needs: its description and its tokenizer.
COMPANIONS = (
    'bundle.json',
    'config.json',
    'sentencepiece.bpe.model',
    'beit3.spm',
    'spiece.model',
    'tokenizer.model',
    'tokenizer.json',
    'tokenizer_config.json',
    'special_tokens_map.json',
    'added_tokens.json',
    'vocab.json',
    'vocab.txt',
    'merges.txt',
)
# Pickles of training that lie beside weights.
NO_WEIGHTS = re.compile(r'(training_args|optimizer|scheduler|scaler|rng_state|random_states)[\w.-]*')
# The folder of a bundle's tokenizer; published repositories call theirs so too.
TOKENIZER = 'tokenizer'
INDEX_SUFFIX = '.index.json'


class Choice(NamedTuple):
    """What of a repository is a model.

    Attributes:
        weights: the weights file, or the index of its shards.
        companions: what lies beside it that the model needs.
    """

    weights: str
    companions: tuple[str, ...]


def choose(names: Iterable[str], place: HubPlace) -> Choice:
    """The weights of a place in any form that `open_state_dict` reads, and what lies beside them.

    Args:
        names: all files of the repository.
        place: what of it is meant.

    Raises:
        CheckpointError: there are none, or several.
    """
    names = sorted(names)
    if place.inside in names:
        return Choice(place.inside, ())
    folders: dict[str, list[str]] = {}
    for name in names:
        parent, _, file = name.rpartition('/')
        folders.setdefault(parent, []).append(file)
    inside = [folder for folder in folders if not place.inside or f'{folder}/'.startswith(f'{place.inside}/')]
    if not inside:
        if not names:
            raise CheckpointError(f'{place.repo} holds no files')
        has = sorted(filter(None, folders)) or names[:8]
        raise CheckpointError(f'{place.repo} has no {place.inside}; it has {", ".join(has)}')
    found = {folder: weights for folder in inside if (weights := weights_among(folders[folder]))}
    folder = place.inside if place.inside in found else next(iter(found), None)
    if folder is None:
        raise CheckpointError(
            f'{place} holds no weights: expected {", ".join(FOLDER_FILES)}, or one other weights file'
        )
    if folder != place.inside and len(found) > 1:
        several = ', '.join(f'{SCHEME}{place.repo}/{one}' for one in found)
        raise CheckpointError(f'{place} holds several models: name one of {several}')
    if len(found[folder]) > 1:
        several = ', '.join(f'{SCHEME}{place.repo}/{folder}/{one}'.replace('//', '/') for one in found[folder][:6])
        raise CheckpointError(f'{place} holds several weights files: name one of {several}')
    prefix = f'{folder}/' if folder else ''
    beside = [prefix + name for name in COMPANIONS if name in folders[folder]]
    # A bundle keeps its tokenizer in a folder of its own.
    beside += [f'{prefix}{TOKENIZER}/{name}' for name in folders.get(prefix + TOKENIZER, ()) if name in COMPANIONS]
    return Choice(prefix + found[folder][0], tuple(beside))


def weights_among(files: Iterable[str]) -> list[str]:
    """Which of a folder's files are its weights: one of the standard names, else what else can be; several or none."""
    files = sorted(files)
    if standard := next((name for name in FOLDER_FILES if name in files), None):
        return [standard]
    for suffixes in (('.safetensors',), PICKLE_SUFFIXES):
        if fitting := [name for name in files if name.endswith(suffixes) and not NO_WEIGHTS.fullmatch(name)]:
            return fitting
    return []


def shards_of(index: Path) -> list[str]:
    """Files that an index of shards names."""
    try:
        names = sorted(set(parse_json(index.read_bytes())['weight_map'].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise CheckpointError(f'{index} is no index of shards: fetch it anew') from None
    if outside := [name for name in names if not isinstance(name, str) or '/' in name or '\\' in name]:
        raise CheckpointError(f'{index} names {outside[0]!r}, which lies outside its folder')
    return names


def family_of(weights: str, files: Iterable[str]) -> list[str]:
    """The files that a weights file stands for: itself, or its shards."""
    if not weights.endswith(INDEX_SUFFIX):
        return [weights]
    stem, suffix = weights.removesuffix(INDEX_SUFFIX).rsplit('.', 1)
    return [name for name in files if name.startswith(f'{stem}-') and name.endswith(f'.{suffix}')]
