"""What exported models need on a machine without torch, read from the code: no module on their way imports it."""

import ast
from pathlib import Path

import pytest

from helpers.paths import ROOT

PACKAGE = ROOT / 'projects/rs2sam2'
# What pip does not install there (requirements/without_torch.txt, geo.txt, serve.txt, demo.txt).
MISSING = {'torch', 'torchvision', 'mmengine', 'mmcv', 'mmseg', 'sam2', 'transformers', 'peft', 'safetensors', 'yaml'}
COMMANDS = ('segment', 'scene', 'demo', 'serve')
# Imported where torch is, inside of functions that ask for it first or are refused before.
WITH_TORCH = {
    'rs2sam2.registration',  # the package's own front door asks whether torch is there
    'rs2sam2.registry',
    'rs2sam2.engine.launch',  # so does the command
    'rs2sam2.inference.torch_inferencer',  # a model that is not exported: one line says so
    'rs2sam2.workers.torchrun',  # torchrun comes with torch
    'rs2sam2.structures',  # clicks and boxes, which exported models refuse before
}


def file_of(module: str) -> Path | None:
    place = PACKAGE.parent / module.replace('.', '/')
    found = [path for path in (place.with_suffix('.py'), place / '__init__.py') if path.is_file()]
    return found[0] if found else None


def names_of(nodes: list[ast.stmt], deep: bool) -> set[str]:
    """Modules that statements import; those inside of functions only where `deep`, those for types never."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f'{node.module}.{alias.name}' for alias in node.names)}
        for_types = isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test)
        if for_types or (isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not deep):
            continue
        parts = (getattr(node, name, []) for name in ('body', 'orelse', 'finalbody', 'handlers', 'cases'))
        for part in parts:
            names |= names_of(part, deep)
    return names


def entries() -> set[str]:
    """What the commands import when they are called, and the inferencer of exported models."""
    tree = ast.parse((PACKAGE / 'cli/main.py').read_text())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    helpers = ('_product', '_numbers', '_one_line_errors')
    found = set().union(*(names_of(functions[name].body, deep=True) for name in (*COMMANDS, *helpers)))
    return {'rs2sam2.cli.main', 'rs2sam2.inference.onnx_inferencer', *found}


def closure() -> dict[str, str]:
    """Every module of ours that is reached, by whom."""
    reached, todo = {}, [(name, 'the command') for name in sorted(entries())]
    while todo:
        module, by = todo.pop()
        if module in reached or module in WITH_TORCH or not module.startswith('rs2sam2') or file_of(module) is None:
            continue
        reached[module] = by
        parts = module.split('.')
        todo += [('.'.join(parts[:end]), module) for end in range(1, len(parts))]
        deep = module != 'rs2sam2.cli.main'  # other commands may need torch
        todo += [(name, module) for name in names_of(ast.parse(file_of(module).read_text()).body, deep)]
    return reached


def test_no_module_on_the_way_of_an_exported_model_imports_torch():
    reached = closure()
    for module in ('geo.scene', 'serve.app', 'page.app', 'cli.segment', 'cli.scene', 'workers.ray_cluster'):
        assert f'rs2sam2.{module}' in reached
    bad = {
        f'{module} imports {name} (reached by {by})'
        for module, by in reached.items()
        for name in names_of(ast.parse(file_of(module).read_text()).body, deep=False)
        if name.split('.')[0] in MISSING
    }
    assert not bad


@pytest.mark.parametrize('name', sorted(WITH_TORCH))
def test_what_needs_torch_is_there_and_needs_it(name):
    """A list of exceptions that has grown old would hide something."""
    imported = names_of(ast.parse(file_of(name).read_text()).body, deep=True)
    assert {one.split('.')[0] for one in imported} & MISSING
