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
LINK = re.compile(r'(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]*)(#[^)\s]*)?\)')


def copy_pages(source: Path) -> None:
    """Copy every page and picture, with links turned to where their targets lie in the site."""
    shutil.copytree(ROOT / 'docs/images', source / 'images')
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
        entries.append({section: [f'{name}.md' for name in names if (source / f'{name}.md').exists()]})
    pages = sorted((source / REFERENCE).rglob('*.md'))
    api = [path for path in pages if path.parent.name == 'api']
    reference: list = [path.relative_to(source).as_posix() for path in pages if path not in api]
    reference.append({'Python': [path.relative_to(source).as_posix() for path in api]})
    return [*entries, {'Reference': reference}, {'Changes': 'changelog.md'}]


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
    return f'{mark}[{text}]({path}{anchor})'


def _write_gallery(source: Path) -> None:
    """Every picture of the pages, with the page that explains it."""
    lines = ['# Gallery', '', 'Pictures that the tools draw; each leads to the page that says how.', '']
    for page in sorted(source.glob('*.md')):
        for mark, text, target, _ in LINK.findall(page.read_text()):
            if mark:
                lines += [f'[![{text}]({target})]({page.name})', '', f'*{text}* ({page.name.removesuffix(".md")})', '']
    (source / 'gallery.md').write_text('\n'.join(lines))
