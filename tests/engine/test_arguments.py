"""The tools' arguments: an option that may be given once refuses a second."""

import ast

import pytest

from helpers.paths import ROOT
from rs2sam2.engine.arguments import launch_parser, make_parser


def _parser():
    parser = make_parser('What it does.')
    parser.add_argument('files', nargs='+')
    parser.add_argument('--text', '-t')
    parser.add_argument('--shares', nargs=2, type=float)
    parser.add_argument('--flag', action='store_true')
    parser.add_argument('--many', action='append')
    return parser


@pytest.mark.parametrize(
    'words', [['--text', 'a', '--text', 'b'], ['-t', 'a', '--text', 'a'], ['--shares', '1', '2', '--shares', '3', '4']]
)
def test_a_second_value_is_refused(words, capsys):
    with pytest.raises(SystemExit) as end:
        _parser().parse_args(['x', *words])
    assert end.value.code == 2
    assert 'it is given more than once; give it once' in capsys.readouterr().err


@pytest.mark.parametrize('words', [['--text', ''], ['--many', ''], ['x', '']])
def test_an_empty_value_is_refused(words, capsys):
    with pytest.raises(SystemExit) as end:
        _parser().parse_args(['y', *words])
    assert end.value.code == 2
    assert 'it is empty; name something' in capsys.readouterr().err


def test_all_else_is_as_before():
    parser = _parser()
    for _ in range(2):
        args = parser.parse_args(['x', 'y', '-t', 'a', '--flag', '--flag', '--many', '1', '--many', '2'])
        assert (args.files, args.text, args.flag, args.many) == (['x', 'y'], 'a', True, ['1', '2'])
    args = launch_parser('').parse_args(['c.py', '--cfg-options', 'a=1', '--cfg-options', 'b=2'])
    assert args.cfg_options == {'a': 1, 'b': 2}


@pytest.mark.parametrize('tool', sorted((ROOT / 'tools').rglob('*.py')), ids=lambda path: path.stem)
def test_every_tool_has_such_a_parser(tool):
    made = [node for node in ast.walk(ast.parse(tool.read_text())) if getattr(node, 'attr', '') == 'ArgumentParser']
    assert not made, 'use rs2sam2.engine.arguments.make_parser'
