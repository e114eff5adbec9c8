"""What is published: the list of `rs2sam2 models`, and `rs2sam2 download`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from rs2sam2.engine.launch import load_config
from rs2sam2.engine.preflight import published_inputs
from rs2sam2.errors import CheckpointError, ConfigError
from rs2sam2.terminal import plain_console
from rs2sam2.weights.hub import Fetched, fetch
from rs2sam2.weights.places import Address, HubPlace, parse_place
from rs2sam2.weights.zoo import Published, find_published, here, obtain, published, suggest

# Wide enough for every row on one line, where the list goes to a file or a pipe.
WIDTH = 200
METRICS = ('mIoU', 'oIoU')


def list_published() -> None:
    """Print the published models, then the starting weights."""
    console = plain_console()
    console = console if console.is_terminal else plain_console(width=WIDTH)
    entries = published().values()
    models = [entry for entry in entries if entry.source is None]
    console.print(_models(models))
    console.print(_starting_weights([entry for entry in entries if entry.source]))
    whose: dict[str, list[str]] = {}
    for entry in models:
        if entry.scores_from:
            whose.setdefault(entry.scores_from, []).append(entry.name)
    for who, names in whose.items():
        console.print(f'scores of {", ".join(names)}: {who}')
    console.print('fetch: rs2sam2 download NAME    use: --model NAME, load_from, OfficialWeights(checkpoint=NAME)')


def download_published(names: Sequence[str], config: Path | None) -> None:
    """Fetch by name, by place, or all that a config starts from; print where each lies.

    Raises:
        ConfigError: nothing is asked for, a name is unknown, or the config needs nothing that is published.
        CheckpointError: something cannot be fetched; what was fetched before it stays.
    """
    if bool(names) == (config is not None):
        raise ConfigError('name what to download, or --for CONFIG')
    wanted: dict[str, Published | HubPlace | Address] = {}
    for name in names:
        entry = find_published(name) or parse_place(name)
        if entry is None:
            raise ConfigError(f'{name}: there is none of that name{suggest(name)}')
        wanted[entry.name if isinstance(entry, Published) else name] = entry
    if config is not None:
        needed = published_inputs(load_config(str(config), None, 'none', None))
        if not needed:
            raise ConfigError(f'{config} starts from nothing that is published')
        wanted |= {entry.name: entry for entry in needed}
    for name, one in list(wanted.items()):
        if not isinstance(one, Published):
            _tell(name, fetch(one, newest=True))
            continue
        found = obtain(one, newest=True)
        _tell(name, found)
        for need in _needs_beside(one, found):
            if need not in wanted:
                wanted[need] = other = published()[need]
                _tell(need, obtain(other, newest=True))


def _needs_beside(entry: Published, found: Fetched) -> list[str]:
    """What an entry needs and did not bring itself."""
    brought = any(path.suffix in ('.model', '.spm') for path in found.folder.iterdir())
    return [] if brought else list(entry.needs)


def _models(entries: Sequence[Published]) -> Table:
    table = Table(title='published models', title_justify='left', title_style='bold')
    for column in ('name', 'method', 'trained on'):
        table.add_column(column, overflow='fold')
    for column in METRICS:
        table.add_column(column, justify='right')
    for column in ('size', 'licence', 'here'):
        table.add_column(column, overflow='fold')
    for entry in entries:
        scores = entry.scores[0][1] if entry.scores else {}
        numbers = [f'{scores[name]:.2f}' if name in scores else '-' for name in METRICS]
        table.add_row(
            entry.name, entry.collection, entry.trained_on or '-', *numbers, _size(entry), entry.licence, _here(entry)
        )
    return table


def _starting_weights(entries: Sequence[Published]) -> Table:
    table = Table(title='starting weights', title_justify='left', title_style='bold')
    for column in ('name', 'what', 'size', 'licence', 'here'):
        table.add_column(column, overflow='fold')
    for entry in entries:
        what = f'{entry.collection}, tokenizer' if entry.source == 'tokenizer' else entry.collection
        table.add_row(entry.name, what, _size(entry), entry.licence, _here(entry))
    return table


def _size(entry: Published) -> str:
    if entry.size:
        return f'{entry.size:.2f} GB' if entry.size >= 0.1 else f'{1000 * entry.size:.0f} MB'
    return f'{entry.parameters:.0f} M parameters' if entry.parameters else '-'


def _here(entry: Published) -> str:
    try:
        return 'yes' if here(entry) else 'no'
    except CheckpointError:
        return 'no'


def _tell(name: str, found: Fetched) -> None:
    print(f'{name}: {found.weights}')
    sys.stdout.flush()
