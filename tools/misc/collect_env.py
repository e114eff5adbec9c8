"""Print what a bug report should say: machine, torch, the versions of what the models are built on, the git commit.

python tools/misc/collect_env.py
"""

import subprocess
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from mmengine.utils.dl_utils import collect_env

import rs2sam2
from rs2sam2.engine.arguments import make_parser

PACKAGES = (
    'mmseg',
    'mmcv',
    'sam2',
    'transformers',
    'tokenizers',
    'sentencepiece',
    'safetensors',
    'peft',
    'numpy',
    'PIL',
)


def installed(package: str, distributions: dict[str, list[str]]) -> str:
    """Version of an import name and the distribution that brings it; several may claim one name."""
    # Python 3.10 does not list distributions without a top_level.txt; theirs are called as the package is.
    names = dict.fromkeys(distributions.get(package, [package]))
    try:
        return ', '.join(f'{version(name)} ({name})' for name in names)
    except PackageNotFoundError:
        return 'not installed'


def commit_of(folder: Path) -> str:
    """Commit of the source tree that a folder belongs to, with `-dirty` where it was changed."""
    git = ['git', '-C', str(folder)]
    # An installed package may lie in a repository that does not know it, in a .venv for one.
    commands = (
        ['ls-files', '--error-unmatch', '__init__.py'],
        ['describe', '--always', '--dirty', '--abbrev=40', '--exclude=*'],
    )
    try:
        results = [subprocess.run([*git, *one], capture_output=True, text=True, check=True) for one in commands]
    except (OSError, subprocess.CalledProcessError):
        return 'no git checkout'
    return results[-1].stdout.strip()


def main() -> None:
    """Collect and print, one line a fact."""
    facts = dict(collect_env())
    distributions = packages_distributions()
    facts |= {package: installed(package, distributions) for package in PACKAGES}
    folder = Path(rs2sam2.__file__).resolve().parent
    facts |= {'rs2sam2': f'{rs2sam2.__version__} in {folder}', 'rs2sam2 commit': commit_of(folder)}
    for name, value in facts.items():
        print(f'{name}: {str(value).strip()}')


if __name__ == '__main__':
    make_parser(__doc__).parse_args()
    main()
