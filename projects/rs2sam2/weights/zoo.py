"""Published models and starting weights by their names: the table that the metafiles hold.

An entry of the metafiles that model-index.yml names with `Weights:` is a published model, so is one of
`configs/bundles.yml`, which brings its own config; one of `configs/starting_weights.yml` is what training starts from.
Under `Metadata` it says `License`, `Training Data`, `Size (GB)`, `Parameters (M)`, `Source` (whose names the weights
have, for starting weights), `Needs` (other entries, such as the tokenizer) and `Local`: the path under which configs
and docs name the files, and where they may be put by hand. `Weights` is what `hub.parse_place` reads, or
`package:folder` for what travels with this package.
"""

import difflib
import functools
import os
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from rs2sam2.errors import CheckpointError, ConfigError
from rs2sam2.weights.choice import TOKENIZER, weights_among
from rs2sam2.weights.hub import Fetched, cached, fetch
from rs2sam2.weights.places import Address, HubPlace, parse_place

PACKAGE = Path(__file__).resolve().parents[1]
INDEX = PACKAGE / '.mim/model-index.yml'
# Not in model-index.yml: mmengine and mim expect a config with every entry there.
BESIDE_INDEX = ('configs/bundles.yml', 'configs/starting_weights.yml')
PACKAGED = 'package:'
NONE_STATED = 'none stated'


@dataclass(frozen=True)
class Published:
    """What is published under a name.

    Attributes:
        name: its name.
        collection: the method, or the family of starting weights.
        place: where its files are; a path for what travels with this package.
        config: config of the model; None for starting weights.
        local: path under which configs name it, below the current folder.
        source: whose names starting weights have: a key of `ADAPTERS`, or 'tokenizer'; None for models.
        needs: names of other entries that it does not bring itself.
        licence: as its authors state it.
        size: of the files, in 10^9 bytes, where known.
        parameters: in millions, where known.
        trained_on: data sets.
        scores: (data set, {metric: value}) as published.
        scores_from: whose scores they are.
    """

    name: str
    collection: str
    place: HubPlace | Address | Path
    config: Path | None = None
    local: str | None = None
    source: str | None = None
    needs: tuple[str, ...] = ()
    licence: str = NONE_STATED
    size: float | None = None
    parameters: float | None = None
    trained_on: str | None = None
    scores: tuple[tuple[str, dict], ...] = field(default=(), hash=False)
    scores_from: str | None = None


def published() -> dict[str, Published]:
    """All published models and starting weights by name, in the order of the metafiles.

    Raises:
        ConfigError: the table does not lie where the installation puts it, or an entry is wrong.
    """
    return _read(index_file())


def index_file() -> Path:
    """The model index: in `.mim` of an installed package; a repository's own where that is linked or missing.

    Raises:
        ConfigError: there is none.
    """
    for path in (INDEX, PACKAGE.parents[1] / 'model-index.yml'):
        if path.is_file():
            return path.resolve()
    raise ConfigError(f'the table of models is missing ({INDEX}): install the package anew, pip install -e .')


def find_published(text: str | Path) -> Published | None:
    """The entry of a name (`-` and `_` are the same), or of the path under which configs name its files."""
    table = published()
    plain = _plain(str(text))
    by_name = next((entry for name, entry in table.items() if _plain(name) == plain), None)
    return by_name or next((entry for entry in table.values() if entry.local and Path(text) == Path(entry.local)), None)


def tokenizer_of(path: str | Path) -> Published | None:
    """The entry whose tokenizer a config's path means; a path into another machine's cache by the file's name."""
    entry = find_published(path)
    if entry is None:
        tokenizers = [(one, one.local) for one in published().values() if one.source == 'tokenizer' and one.local]
        entry = next((one for one, local in tokenizers if Path(local).name == Path(path).name), None)
    return entry


def tokenizer_in(found: Fetched, entry: Published | None) -> Path:
    """The tokenizer among an entry's, or a place's, files: the file, their folder, or the one for it in a bundle."""
    if entry and entry.source == 'tokenizer':
        return found.weights
    own = found.folder / TOKENIZER
    return own if own.is_dir() else found.folder


def here(entry: Published) -> Fetched | None:
    """An entry's files where they are on this machine: put by hand, in the cache, or in this package."""
    if isinstance(entry.place, Path):
        return _local(entry.place)
    if entry.local and Path(entry.local).exists():
        return _local(Path(entry.local))
    return cached(entry.place)


def obtain(entry: Published, newest: bool = False) -> Fetched:
    """An entry's files, fetched where they are not here.

    Args:
        entry: what.
        newest: ask the network although they are here.

    Raises:
        CheckpointError: they cannot be had; one line says how to get them by hand.
    """
    if isinstance(entry.place, Path):
        return _local(entry.place)
    found = here(entry)
    if found is not None and not newest:
        return found
    return fetch(entry.place, entry.local, entry.licence, newest)


def locate(text: str | Path, what: str = '') -> Fetched:
    """Weights, or a tokenizer, by path, name, `hf:user/repo[@revision][/folder]` or address.

    A name or a place is fetched where it is not here. A path is never fetched; one under which an entry is known is
    found in the cache too.

    Args:
        text: what the user wrote.
        what: what it ought to be, for the error.

    Raises:
        CheckpointError: there is none, or it cannot be fetched.
    """
    if os.path.exists(text):  # unlike pathlib's, no error for a name that is too long
        return _local(Path(text))
    if isinstance(text, str) and (place := parse_place(text)):
        return fetch(place, licence=next((e.licence for e in published().values() if e.place == place), None))
    entry = find_published(text)
    if entry is None:
        raise CheckpointError(
            f'{text} does not exist{suggest(str(text))}' if not what else f'{text} is missing: {what}'
        )
    if _plain(str(text)) == _plain(entry.name):
        return obtain(entry)
    if (found := here(entry)) is None:
        raise CheckpointError(f'{text} is missing: {how_to_get(entry)}')
    return found


def how_to_get(entry: Published) -> str:
    """The command that fetches an entry, and how to get it by hand."""
    page = '' if isinstance(entry.place, Path) else f', or by hand from {entry.place.page}'
    return f'rs2sam2 download {entry.name}{page}'


def suggest(text: str) -> str:
    """What to say of a text that is no published name."""
    if '/' in text or Path(text).suffix:
        return ''
    near = difflib.get_close_matches(_plain(text), [_plain(name) for name in published()], n=1)
    names = [name for name in published() if _plain(name) in near]
    hint = f': did you mean {names[0]}?' if names else ''
    return ' and is no published name' + (hint or ': rs2sam2 models lists them')


def _local(path: Path) -> Fetched:
    if not path.is_dir():
        return Fetched(path, path.parent)
    found = weights_among(one.name for one in path.iterdir() if one.is_file())
    if len(found) > 1:
        raise CheckpointError(f'{path} holds several weights files: name one of {", ".join(found[:6])}')
    # A folder may hold a tokenizer alone.
    return Fetched(path / found[0] if found else path, path)


def _plain(name: str) -> str:
    return name.lower().replace('-', '_')


@functools.lru_cache(maxsize=4)
def _read(index: Path) -> dict[str, Published]:
    table = {}
    for metafile in (*yaml.safe_load(index.read_text())['Import'], *BESIDE_INDEX):
        for model in yaml.safe_load((index.parent / metafile).read_text())['Models']:
            if 'Weights' in model:
                entry = _entry(model, index)
                table[entry.name] = entry
    unknown = {need for entry in table.values() for need in entry.needs} - set(table)
    if unknown:
        raise ConfigError(f'{index}: Needs names {sorted(unknown)}, which no entry has')
    return table


def _entry(model: dict, index: Path) -> Published:
    meta = model['Metadata']
    weights = model['Weights']
    place = PACKAGE / weights.removeprefix(PACKAGED) if weights.startswith(PACKAGED) else parse_place(weights)
    if place is None:
        raise ConfigError(
            f'{index}: Weights of {model["Name"]} is {weights!r}, no hf:user/repo, address or package:folder'
        )
    return Published(
        name=model['Name'],
        collection=model['In Collection'],
        place=place,
        config=index.parent / model['Config'] if 'Config' in model else None,
        local=meta.get('Local'),
        source=meta.get('Source'),
        needs=tuple(meta.get('Needs', ())),
        licence=meta.get('License', NONE_STATED),
        size=meta.get('Size (GB)'),
        parameters=meta.get('Parameters (M)'),
        trained_on=meta.get('Training Data'),
        scores=tuple((one['Dataset'], one['Metrics']) for one in model.get('Results', ())),
        scores_from=meta.get('Results From'),
    )
