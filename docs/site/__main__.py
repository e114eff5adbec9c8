"""Build the documentation site: the pages of docs/, references made from the code, notebooks with their outputs.

python docs/site [--out FOLDER] [--tools FOLDER]        (make docs does it all)

Nothing can be forgotten: every page of docs/ is in the navigation, or the build stops. So it does at a link or an
anchor that leads nowhere, at a warning of Zensical's, and where one of the ten searches misses its page.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))

from checks import check_links, check_searches  # noqa: E402
from pages import NOTEBOOKS, copy_pages, navigation  # noqa: E402
from reference import write_reference  # noqa: E402


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=ROOT / 'work_dirs/site', help='default: work_dirs/site')
    parser.add_argument(
        '--tools',
        type=lambda text: Path(text).absolute(),
        default=ROOT / '.venv-docs/bin',
        help='where zensical and jupyter are',
    )
    args = parser.parse_args()
    source, site = args.out / 'source', args.out / 'html'
    shutil.rmtree(args.out, ignore_errors=True)
    source.mkdir(parents=True)
    copy_pages(source)
    write_reference(source)
    notebooks = sorted((ROOT / 'docs/notebooks').glob('*.ipynb'))
    convert = [args.tools / 'jupyter-nbconvert', '--to', 'markdown', '--log-level', 'WARN', '--output-dir']
    subprocess.run([*convert, source / NOTEBOOKS, *notebooks], check=True)
    config = yaml.safe_load((Path(__file__).parent / 'mkdocs.yml').read_text())
    config |= dict(docs_dir='source', site_dir='html', nav=navigation(source))
    config['plugins'][-1]['mkdocstrings']['handlers']['python']['paths'] = [str(ROOT / 'projects')]
    (args.out / 'mkdocs.yml').write_text(yaml.safe_dump(config, sort_keys=False))
    build = subprocess.run(
        [args.tools / 'zensical', 'build', '--strict', '--clean', '-f', 'mkdocs.yml'],
        cwd=args.out, capture_output=True, text=True,
    )  # fmt: skip
    print(build.stdout + build.stderr)
    problems = check_links(site) + check_searches(site)
    for problem in problems:
        print(f'error: {problem}', file=sys.stderr)
    if build.returncode or problems:
        sys.exit(1)
    print(f'{len(list(site.rglob("*.html")))} pages. To read and search them, without network:')
    print(f'python3 -m http.server -b 127.0.0.1 -d {site}')


if __name__ == '__main__':
    main()
