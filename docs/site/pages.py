"""The written pages, with links that lead within the site, and the navigation over all that are there."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS, REFERENCE = 'notebooks', 'reference'
# Pages of the repository that lie elsewhere in the site.
MOVED = {'README.md': 'index.md', 'CONTRIBUTING.md': 'contributing.md', 'CHANGELOG.md': 'changelog.md'}
# In the order of a reader; a page of docs/ that no section names stops the build.
SECTIONS = {
    'Use a model': ('inference', 'scenes', 'serve', 'qgis', 'scale', 'export'),
    'Train': ('data', 'your_data', 'training', 'weights', 'performance'),
    'Compare': ('evaluation', 'benchmark', 'ablations', 'baselines'),
    'Build on it': ('design', 'mixing', 'contributing'),
}
# Rooms of the API reference, in the same order, with the modules that a reader wants first.
API = {
    'inference': ('Segment images from Python', ('inferencer', 'results', 'torch_inferencer')),
    'geo': ('Scenes of any size', ('scene', 'result', 'run', 'many')),
    'client': ('Ask a server', ()),
    'export': ('Out of Python', ('run',)),
    'structures': ('Typed structures between the stages', ()),
    'errors': ('Errors', ()),
    'symmetry': ('Symmetries', ()),
    'text': ('Words', ()),
    'datasets': ('Data sets and transforms', ('base', 'jsonl')),
    'synthetic': ('Drawn scenes', ()),
    'evaluation': ('Metrics and results', ('rrsis_metric', 'generalized_metric')),
    'visualization': ('Pictures', ()),
    'models': ('Models', ()),
    'weights': ('Weights', ()),
    'engine': ('Training', ()),
    'serve': ('Service', ()),
}
# What names itself by its file in the repository has no ending in the site.
FILE_NAME = re.compile(r'(?:docs/)?(\w+)\.md')
LINK = re.compile(r'(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]*)(#[^)\s]*)?\)')


def copy_pages(source: Path) -> None:
    """Copy every page and picture, with links turned to where their targets lie in the site."""
    shutil.copytree(ROOT / 'docs/images', source / 'images')
    shutil.copy(Path(__file__).parent / 'site.css', source)
    for page in sorted((ROOT / 'docs').glob('*.*')):
        if page.suffix == '.md':
            (source / page.name).write_text(_relinked(page))
        else:
            shutil.copy(page, source)
    for name, target in MOVED.items():
        (source / target).write_text(_relinked(ROOT / name))
    _write_gallery(source)


def navigation(source: Path) -> list:
    """Every page that is there, by section.

    Raises:
        SystemExit: a page has no section.
    """
    listed = {'index', 'changelog', 'gallery', *(name for names in SECTIONS.values() for name in names)}
    if missing := sorted(path.name for path in source.glob('*.md') if path.stem not in listed):
        raise SystemExit(f'error: {", ".join(missing)} of docs/ is in no section: name it in docs/site/pages.py')
    entries: list = [{'Start': 'index.md'}, {'Gallery': 'gallery.md'}]
    entries.append({'Notebooks': [f'{NOTEBOOKS}/{path.name}' for path in sorted((source / NOTEBOOKS).glob('*.md'))]})
    for section, names in SECTIONS.items():
        there = [f'{name}.md' for name in names if (source / f'{name}.md').exists()]
        entries.append({section: [{_short_title(source / page): page} for page in there]})
    reference: list = [f'{REFERENCE}/{path.name}' for path in sorted((source / REFERENCE).glob('*.md'))]
    rooms = [f'{REFERENCE}/api/{room}.md' for room in API]
    reference.append({'Python': [page for page in rooms if (source / page).exists()]})
    return [*entries, {'Reference': reference}, {'Changes': 'changelog.md'}]


def _short_title(page: Path) -> str:
    """The heading, without what explains it after a colon."""
    return page.read_text().partition('\n')[0].removeprefix('# ').partition(':')[0]


def _relinked(page: Path) -> str:
    return LINK.sub(lambda found: _link(page, *found.groups()), page.read_text())


def _link(page: Path, mark: str, text: str, target: str, anchor: str | None) -> str:
    anchor = anchor or ''
    if not target or '://' in target or target.startswith('mailto:'):
        return f'{mark}[{text}]({target}{anchor})'
    path = (page.parent / target).resolve().relative_to(ROOT).as_posix()
    if path in MOVED:
        path = MOVED[path]
    elif path.startswith('docs/'):
        path = path.removeprefix('docs/')
    else:
        # A file of the repository that is no page: its name is what there is to say.
        return text if text.startswith('`') or '/' in text else f'{text} (`{path}`)'
    if named := FILE_NAME.fullmatch(text):
        text = named[1]
    return f'{mark}[{text}]({path}{anchor})'


def _write_gallery(source: Path) -> None:
    """Every picture of the pages, with the page that explains it."""
    lines = ['---', 'hide: [toc]', '---', '', '# Gallery', '']
    lines += ['Pictures that the tools draw; each leads to the page that says how.', '']
    for name in ('index', *(name for names in SECTIONS.values() for name in names)):
        page = source / f'{name}.md'
        for mark, text, target, _ in LINK.findall(page.read_text()):
            if mark:
                title = _short_title(page) if name != 'index' else 'Start'
                lines += [f'[![{text}]({target})]({page.name})', '', f'*{text}* ([{title}]({page.name}))', '']
    (source / 'gallery.md').write_text('\n'.join(lines))
