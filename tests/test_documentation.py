"""The site's own rules, without building it: every page has a section, every notebook its outputs."""

import json
import sys

import pytest
import yaml

from helpers.paths import ROOT

sys.path.insert(0, str(ROOT / 'docs/site'))
from checks import check_links, search
from pages import API, SECTIONS, copy_pages, navigation

NOTEBOOKS = sorted((ROOT / 'docs/notebooks').glob('*.ipynb'))


def test_every_page_has_a_section(tmp_path):
    copy_pages(tmp_path)
    named = json.dumps(navigation(tmp_path))
    assert all(f'"{page.name}"' in named for page in (ROOT / 'docs').glob('*.md'))
    assert len({name for names in SECTIONS.values() for name in names}) == sum(map(len, SECTIONS.values()))
    pictures = (tmp_path / 'gallery.md').read_text()
    assert [name for name in ('demo.jpg', 'compare.png', 'qgis.png') if f'(images/{name})' not in pictures] == []
    (tmp_path / 'forgotten.md').touch()
    with pytest.raises(SystemExit, match='name it in docs/site'):
        navigation(tmp_path)


def test_the_reference_names_rooms_and_modules_that_are_there():
    package = ROOT / 'projects/rs2sam2'
    for room, (_, first) in API.items():
        assert (package / room).is_dir() or (package / f'{room}.py').is_file()
        assert all(list((package / room).rglob(f'{module}.py')) for module in first)


def test_a_link_says_no_file_name(tmp_path):
    copy_pages(tmp_path)
    assert '](scenes.md' in (tmp_path / 'index.md').read_text()
    assert 'scenes.md](' not in (tmp_path / 'index.md').read_text()


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_its_outputs_and_no_place_of_a_machine(path):
    text = path.read_text()
    assert '/tmp/' not in text
    assert 'site-packages' not in text
    cells = [cell for cell in json.loads(text)['cells'] if cell['cell_type'] == 'code']
    assert all(cell['execution_count'] for cell in cells)
    assert not [one for cell in cells for one in cell['outputs'] if one['output_type'] == 'error']
    assert 'image/png' in text
    assert len(text) < 300_000, 'python docs/site/pictures.py shrinks the pictures'


def test_hooks_fetch_nothing():
    """pre-commit's own way would install each tool from its repository; these are the ones of `make env`."""
    (repository,) = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())['repos']
    assert repository['repo'] == 'local'
    locked = (ROOT / 'requirements/lock.txt').read_text()
    for hook in repository['hooks']:
        tool = hook['entry'].removeprefix('.venv/bin/').removeprefix('python -m ').split()[0]
        assert (hook['language'], hook['entry'].startswith('.venv/bin/')) == ('system', True)
        assert f'\n{tool}==' in locked


def test_links_are_followed(tmp_path):
    (tmp_path / 'a.html').write_text('<a href="b.html#x">b</a><a href="c.html">c</a><img src="https://x.org/y.png">')
    (tmp_path / 'b.html').write_text('<h1 id="y">b</h1><a href="a.html">a</a><a href="https://x.org">x</a>')
    first, second, third = check_links(tmp_path)
    assert 'b.html#x, an anchor' in first
    assert 'c.html, which is not there' in second
    assert 'loads https://x.org/y.png from elsewhere' in third


def test_a_search_takes_all_words_and_titles_first():
    texts = {
        'a': [('Training', 'how to resume')],
        'b': [('Else', 'resume the training; ' + 'and so on ' * 50)],
        'c': [('Training', 'nothing else')],
    }
    assert search(texts, 'resume train') == ['a', 'b']
