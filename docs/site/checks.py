"""What a built site must keep: links and anchors that lead somewhere, nothing from elsewhere, searches that find."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a newcomer types, and the page that should answer; the site's search takes all words, by their beginnings.
SEARCHES = {
    'install': 'index.html',
    'geotiff': 'notebooks/2_scene_on_a_map.html',
    'polygons': 'scenes.html',
    'own data': 'your_data.html',
    'fine-tune': 'your_data.html',
    'onnx': 'export.html',
    'mIoU': 'benchmark.html',
    'GPU memory': 'performance.html',
    'resume': 'training.html',
    'download weights': 'weights.html',
}
TOP = 5
"""A page counts as found among the first of a search."""


class _Links(HTMLParser):
    """Addresses and anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect."""
        known = dict(attrs)
        self.anchors |= {known[key] for key in ('id', 'name') if known.get(key)}
        if tag == 'a' and known.get('href'):
            self.links.append(known['href'])
        if tag in ('img', 'script') and known.get('src'):
            self.loaded.append(known['src'])
        if tag == 'link' and known.get('href') and known.get('rel') in ('stylesheet', 'icon', 'preload'):
            self.loaded.append(known['href'])


def check_links(site: Path) -> list[str]:
    """Links within the site that lead nowhere, and what a page loads from elsewhere."""
    pages: dict[Path, _Links] = {}
    for path in site.rglob('*.html'):
        pages[path.resolve()] = page = _Links()
        page.feed(path.read_text('utf-8'))
    problems = []
    for path, page in pages.items():
        if path.name == '404.html':
            continue
        name = path.relative_to(site.resolve())
        problems += [f'{name} loads {one} from elsewhere' for one in page.loaded if urlsplit(one).netloc]
        for link in (*page.links, *page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / 'index.html' if target.is_dir() else target
            if not target.is_file():
                problems.append(f'{name} links to {link}, which is not there')
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                problems.append(f'{name} links to {link}, an anchor that is not there')
    return sorted(set(problems))


def check_searches(site: Path) -> list[str]:
    """Searches that miss their page."""
    texts = _texts(site)
    problems = []
    for words, page in SEARCHES.items():
        found = search(texts, words)
        if page not in found[:TOP]:
            problems.append(f'a search for {words!r} finds {", ".join(found[:TOP]) or "nothing"}, not {page}')
    return problems


def search(texts: dict[str, list[tuple[str, str]]], words: str) -> list[str]:
    """Pages that hold all words by their beginnings, best first.

    By BM25 over pages, a title's words counted as ten: near to what the site's own search does.
    """
    wanted = [re.compile(rf'\b{re.escape(word)}', re.IGNORECASE) for word in words.split()]
    counts, lengths = {}, {}
    for page, sections in texts.items():
        text = ' '.join(f'{(title + " ") * 10}{body}' for title, body in sections)
        counts[page], lengths[page] = [len(word.findall(text)) for word in wanted], len(text)
    mean = sum(lengths.values()) / len(lengths)
    scores = {
        page: sum(count * 2.2 / (count + 1.2 * (0.25 + 0.75 * lengths[page] / mean)) for count in said)
        for page, said in counts.items()
        if all(said)
    }
    return sorted(scores, key=lambda page: scores[page], reverse=True)


def _texts(site: Path) -> dict[str, list[tuple[str, str]]]:
    """Titles and texts of the search index, by page; references made from code are left out."""
    items = json.loads(next(site.rglob('search*.json')).read_text())
    items = items.get('items') or items.get('docs')
    texts: dict[str, list[tuple[str, str]]] = {}
    for item in items:
        page = item['location'].partition('#')[0] or 'index.html'
        if not page.startswith('reference/'):
            plain = re.sub(r'<[^>]+>', ' ', item['text'])
            texts.setdefault(page, []).append((re.sub(r'<[^>]+>', ' ', item['title']), plain))
    return texts
