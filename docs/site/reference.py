"""Pages that are made from the code: API, components, commands, tools, models."""

import contextlib
import io
import runpy
import sys
from pathlib import Path

import typer

import rs2sam2  # noqa: F401
from rs2sam2.cli.main import app
from rs2sam2.registration import COMPONENTS
from rs2sam2.weights.zoo import Published, published

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'projects/rs2sam2'
API = {
    'inference': 'Segment images from Python',
    'geo': 'Scenes of any size',
    'client': 'Ask a server',
    'export': 'Out of Python',
    'structures': 'Typed structures between the stages',
    'errors': 'Errors',
    'symmetry': 'Symmetries',
    'text': 'Words',
    'datasets': 'Data sets and transforms',
    'synthetic': 'Drawn scenes',
    'evaluation': 'Metrics and results',
    'visualization': 'Pictures',
    'models': 'Models',
    'weights': 'Weights',
    'engine': 'Training',
    'serve': 'Service',
}


def write_reference(source: Path) -> None:
    """Write all reference pages."""
    folder = source / 'reference'
    (folder / 'api').mkdir(parents=True)
    pages = {'commands': commands(), 'tools': tools(), 'components': components(), 'models': models()}
    for name, title in API.items():
        if text := api(name, title):
            pages[f'api/{name}'] = text
    for name, text in pages.items():
        (folder / f'{name}.md').write_text(text)


def api(room: str, title: str) -> str | None:
    """The modules of a room, by their docstrings."""
    place = PACKAGE / room
    files = sorted(place.rglob('*.py')) if place.is_dir() else [place.with_suffix('.py')]
    files = [path for path in files if path.is_file() and path.name != '__init__.py' and '.mim' not in path.parts]
    if not files:
        return None
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
    before = sys.argv
    for tool in sorted((ROOT / 'tools').rglob('*.py')):
        name, said = tool.relative_to(ROOT).as_posix(), io.StringIO()
        sys.argv = [name, '--help']
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            runpy.run_path(str(tool), run_name='__main__')
        if not said.getvalue().strip():
            raise SystemExit(f'error: {name} --help says nothing')
        lines += [f'## {name}', '', '```text', said.getvalue().rstrip(), '```', '']
    sys.argv = before
    return '\n'.join(lines)


def models() -> str:
    """The published models with what is known of them."""
    lines = [
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
    size = '-' if not entry.size else f'{entry.size:.2f} GB' if entry.size >= 0.1 else f'{1000 * entry.size:.0f} MB'
    memory = f'{entry.parameters * 4e6 / 1e9:.1f} GB' if entry.parameters else '-'
    cells = (f'`{entry.name}`', entry.collection, entry.trained_on or '-', scores or '-', entry.scores_from or '-')
    return f'| {" | ".join(cells)} | {parameters} | {size} | {memory} | {entry.licence} |'
