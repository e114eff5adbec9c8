"""Who may import whom: the table of docs/design.md, held against the code."""

import ast
from graphlib import TopologicalSorter

import pytest

from helpers.paths import ROOT

PACKAGE = ROOT / 'projects/rs2sam2'
FLOOR = {
    'allocator', 'collecting', 'errors', 'structures', 'symmetry', 'terminal', 'signals', 'locks', 'files', 'json_text',
    'one_line', 'not_now',
}  # fmt: skip
# A room and the rooms that it may import; nothing else, and no arrow upwards.
MAY_IMPORT = {
    'allocator': set(),
    'collecting': set(),
    'terminal': set(),
    'signals': set(),
    'not_now': set(),
    'errors': {'terminal'},
    'locks': {'errors', 'terminal'},
    'files': {'errors', 'terminal'},
    'json_text': {'errors', 'files', 'terminal'},
    'one_line': {'collecting', 'errors', 'signals'},
    'structures': set(),
    'symmetry': {'errors'},
    'text': FLOOR,
    'models/common': FLOOR,
    'models/averaging': FLOOR,
    'models/protocol': FLOOR | {'models/common'},
    'models/rs2sam2': FLOOR | {'models/common', 'models/protocol'},
    'models/lavt': FLOOR | {'models/common', 'models/protocol'},
    'models/rmsin': FLOOR | {'models/common', 'models/lavt', 'models/protocol'},
    'weights': FLOOR | {'models/rs2sam2', 'models/lavt', 'models/rmsin'},
    'datasets': FLOOR | {'text'},
    'evaluation': FLOOR | {'text', 'datasets'},
    'visualization': FLOOR | {'datasets'},
    'synthetic': FLOOR | {'text', 'datasets'},
    'engine': FLOOR | {'models/protocol', 'models/rs2sam2', 'weights'},
    'inference': FLOOR
    | {
        'models/averaging',
        'models/common',
        'models/protocol',
        'text',
        'datasets',
        'engine',
        'visualization',
        'weights',
    },
    'workers': FLOOR,
    'geo': FLOOR | {'text', 'datasets', 'workers'},
    'export': FLOOR | {'inference', 'models/protocol', 'synthetic'},
    'serve': FLOOR | {'client', 'datasets', 'geo', 'inference'},
    'client': set(),
    'page': FLOOR | {'text', 'geo', 'inference', 'serve', 'synthetic', 'visualization'},
    'cli': FLOOR
    | {
        'models/common',
        'weights',
        'evaluation',
        'engine',
        'export',
        'geo',
        'inference',
        'page',
        'workers',
        'serve',
        'visualization',
    },
}
# These two name everything: the registries' one place, and the package's own front door.
DOORS = {'registration', '__init__', 'registry'}


def room_of(parts: list[str]) -> str:
    return '/'.join(parts[:2] if parts[0] == 'models' else parts[:1])


def imports_of(path) -> set[str]:
    """Rooms that a file imports, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        modules = []
        if isinstance(node, ast.ImportFrom) and (node.module or '').split('.')[0] == 'rs2sam2':
            # `from rs2sam2.models import x` names a room by what it imports.
            is_corridor = node.module in ('rs2sam2', 'rs2sam2.models')
            modules = [f'{node.module}.{alias.name}' for alias in node.names] if is_corridor else [node.module]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names if alias.name.startswith('rs2sam2.')]
        found |= {room_of(module.split('.')[1:]) for module in modules}
    return found


def room_of_file(path) -> str:
    return room_of(list(path.relative_to(PACKAGE).with_suffix('').parts))


FILES = [path for path in sorted(PACKAGE.rglob('*.py')) if '.mim' not in path.parts]


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_room_may(path):
    room = room_of_file(path)
    if room in DOORS or path.parent.name == 'models':
        room = f'models/{path.stem}' if path.stem in ('averaging', 'protocol') else room
    if room in DOORS or room == 'models/__init__':
        return
    others = imports_of(path) - {room}
    assert others <= MAY_IMPORT[room], f'{path}: {room} must not import {sorted(others - MAY_IMPORT[room])}'


def test_no_arrow_points_upwards():
    assert list(TopologicalSorter(MAY_IMPORT).static_order())  # raises CycleError


def test_every_arrow_of_the_table_is_used_or_gone():
    used = {room: set() for room in MAY_IMPORT}
    for path in FILES:
        if (room := room_of_file(path)) in used:
            used[room] |= imports_of(path)
    idle = {room: may - used[room] - FLOOR for room, may in MAY_IMPORT.items() if may - used[room] - FLOOR}
    assert not idle, f'the table allows what no file needs: {idle}'


def test_the_page_of_the_design_names_every_room():
    page = (ROOT / 'docs/design.md').read_text()
    missing = [room for room in MAY_IMPORT if f'`{room}' not in page]
    assert not missing


# What knows mmseg, transformers or peft, with the reason beside it.
NOT_PLAIN_TORCH = {
    'models/averaging.py': {'mmengine', 'mmseg'},  # mmengine's base of test-time augmentation
    'models/protocol.py': {'mmengine', 'mmseg'},  # the base of the segmentors
    'models/rs2sam2/segmentor.py': {'mmseg'},
    'models/lavt/segmentor.py': {'mmseg'},
    'models/lavt/swin.py': {'mmseg', 'torchvision'},  # Swin's blocks are mmseg's, its merging is torchvision's
    'models/lavt/head.py': {'mmseg'},  # a config names its second convolutions
    'models/lavt/text_encoder.py': {'huggingface_hub', 'transformers'},  # BERT is transformers'
    'models/rmsin/segmentor.py': {'mmseg'},
    'models/rs2sam2/dual_encoder.py': {'huggingface_hub', 'transformers'},  # the towers are transformers'
    'models/common/lora.py': {'peft'},
}
PLAIN = {'torch', 'sam2', 'rs2sam2', 'collections', 'functools', 'itertools', 'math', 'typing', 'json', 'inspect'}
PLAIN |= {'pathlib', 'contextlib', 'dataclasses', 'abc', 're', 'warnings'}


@pytest.mark.parametrize('path', sorted((PACKAGE / 'models').rglob('*.py')), ids=lambda path: path.stem)
def test_modules_import_torch_and_sam2_only(path):
    tops = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [f'{node.module}']
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        # BaseModule adds `init_cfg` to an nn.Module and nothing else.
        tops |= {name.split('.')[0] for name in names if name != 'mmengine.model'}
    allowed = PLAIN | NOT_PLAIN_TORCH.get(str(path.relative_to(PACKAGE)), set())
    assert tops <= allowed, f'{path} imports {sorted(tops - allowed)}'


TESTS = sorted((ROOT / 'tests').rglob('test_*.py'))
ROOMS = {room.partition('/')[0] for room in MAY_IMPORT} | {'configs', 'tools'}


def test_tests_lie_where_their_code_does():
    """`tests/<room>/test_<what>.py`; pytest needs every name once."""
    folders = {path.relative_to(ROOT / 'tests').parts[0] for path in TESTS if path.parent != ROOT / 'tests'}
    assert folders <= ROOMS
    names = [path.name for path in TESTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize('path', TESTS, ids=lambda path: path.stem)
def test_no_test_imports_another(path):
    others = {other.stem for other in TESTS} | {'conftest'}
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ''] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not others & {part for name in names for part in name.split('.')}
