"""Pages that are made from the code: API, components, commands, tools, models."""

import contextlib
import io
import runpy
import sys
from pathlib import Path

import typer
from pages import API

import rs2sam2  # noqa: F401
from rs2sam2.cli.main import app
from rs2sam2.registration import COMPONENTS
from rs2sam2.weights.zoo import Published, published

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'projects/rs2sam2'


def write_reference(source: Path) -> None:
    """Write all reference pages."""
    folder = source / 'reference'
    (folder / 'api').mkdir(parents=True)
    pages = {'commands': commands(), 'tools': tools(), 'components': components(), 'models': models()}
    for room, (title, first) in API.items():
        pages[f'api/{room}'] = api(room, title, first)
    for name, text in pages.items():
        (folder / f'{name}.md').write_text(text)


def api(room: str, title: str, first: tuple[str, ...]) -> str:
    """The modules of a room, by their docstrings.

    Raises:
        SystemExit: what is named first is not there.
    """
    place = PACKAGE / room
    files = sorted(place.rglob('*.py')) if place.is_dir() else [place.with_suffix('.py')]
    files = [path for path in files if path.name != '__init__.py']
    if missing := set(first) - {path.stem for path in files}:
        raise SystemExit(f'error: {room} has no {", ".join(sorted(missing))}: see API in docs/site/pages.py')
    files.sort(key=lambda path: first.index(path.stem) if path.stem in first else len(first))
    lines = [f'# {title}', '', f'Room `{room}`; [design](../../design.md) says who may import it.', '']
    for path in files:
        name = path.relative_to(PACKAGE.parent).with_suffix('').as_posix().replace('/', '.')
        lines += [f'## `{name}`', '', f'::: {name}', '    options:', '      show_root_heading: false', '']
    return '\n'.join(lines)


def components() -> str:
    """Every registered component with its arguments."""
    lines = [
        '# Components',
        '',
        "What a config may name as `type`, with its arguments; all are in mmseg's registries.",
        '',
    ]
    for registry, classes in COMPONENTS.items():
        lines += [f'## {registry.name}', '']
        for one in sorted(classes, key=lambda kind: kind.__name__):
            lines += [f'::: {one.__module__}.{one.__qualname__}', '    options:', '      members: false', '']
    return '\n'.join(lines)


def commands() -> str:
    """What `rs2sam2 COMMAND --help` says."""
    lines = ['# Commands', '', 'What `rs2sam2 COMMAND --help` says.', '']
    for name, command in typer.main.get_command(app).commands.items():
        lines += [f'## rs2sam2 {name}', '', command.help.strip(), '', '| option | | |', '|---|---|---|']
        for param in command.params:
            flags = ', '.join(f'`{flag}`' for flag in (*param.opts, *param.secondary_opts) if flag.startswith('-'))
            flags = flags or f'`{param.metavar or param.name.upper()}`'
            default = param.default if isinstance(param.default, (int, float, str)) else None
            given = 'required' if param.required else '' if default in (None, '') else f'`{default}`'
            text = ' '.join((getattr(param, 'help', None) or '').split()).replace('|', '\\|').replace('[', '\\[')
            lines.append(f'| {flags.replace("|", chr(92) + "|")} | {text} | {given} |')
        lines += ['']
        if command.epilog:
            lines += [command.epilog, '']
    return '\n'.join(lines)


def tools() -> str:
    """What `python tools/X.py --help` says."""
    lines = ['# Tools', '', 'What `python tools/... --help` says.', '']
    before, folder = sys.argv, None
    for tool in sorted((ROOT / 'tools').rglob('*.py'), key=lambda path: (path.parent, path.name)):
        name, said = tool.relative_to(ROOT).as_posix(), io.StringIO()
        sys.argv = [name, '--help']
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            runpy.run_path(str(tool), run_name='__main__')
        if not said.getvalue().strip():
            raise SystemExit(f'error: {name} --help says nothing')
        if tool.parent != folder:
            folder = tool.parent
            lines += [f'## {folder.relative_to(ROOT).as_posix()}', '']
        lines += [f'### {tool.name}', '', '``` { .text .help }', said.getvalue().rstrip(), '```', '']
    sys.argv = before
    return '\n'.join(lines)


def models() -> str:
    """The published models with what is known of them."""
    lines = [
        '---',
        'hide: [toc]',
        '---',
        '',
        '# Models',
        '',
        'By name: `--model NAME`, `RefSegInferencer(NAME)`; `rs2sam2 models` lists them with what is here. Scores are '
        'in percent, by whom the table says. Time and memory depend on the machine: what was measured stands in '
        '[performance](../performance.md).',
        '',
        '| name | method | trained on | scores | whose | parameters | size | weights need (fp32) | licence |',
        '|---|---|---|---|---|---|---|---|---|',
    ]
    lines += [_row(entry) for entry in published().values() if entry.scores or entry.config]
    return '\n'.join([*lines, ''])


def _row(entry: Published) -> str:
    by_data = [(data, [f'{name} {value}' for name, value in values.items()]) for data, values in entry.scores]
    scores = '; '.join(f'{data}: {", ".join(values)}' for data, values in by_data)
    parameters = f'{entry.parameters:,.0f} M' if entry.parameters else '-'
    size, memory = _gigabytes(entry.size), _gigabytes(entry.parameters and entry.parameters * 4e6 / 1e9)
    cells = (f'`{entry.name}`', entry.collection, entry.trained_on or '-', scores or '-', entry.scores_from or '-')
    return f'| {" | ".join(cells)} | {parameters} | {size} | {memory} | {entry.licence} |'


def _gigabytes(size: float | None) -> str:
    return '-' if not size else f'{size:.2f} GB' if size >= 0.1 else f'{1000 * size:.0f} MB'
