"""Packaging: the import name `rs2sam2` lives in `projects/rs2sam2`; configs and tools travel in `rs2sam2/.mim`."""

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.*)'", (ROOT / 'projects/rs2sam2/__init__.py').read_text())[1]
PACKAGES = ['rs2sam2', *(f'rs2sam2.{name}' for name in find_packages(ROOT / 'projects/rs2sam2'))]


def requirements(name: str) -> list[str]:
    """Requirement lines of `requirements/NAME.txt`, without comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith(('#', '-'))]


class BuildWithMim(build_py):
    """Lay out `rs2sam2/.mim`, where `mim` and mmengine's `rs2sam2::` look; in an editable install as links."""

    def run(self) -> None:
        """Build, then copy or link."""
        super().run()
        package = ROOT / 'projects/rs2sam2' if self.editable_mode else Path(self.build_lib, 'rs2sam2')
        shutil.rmtree(package / '.mim', ignore_errors=True)
        for place, source in mim_layout().items():
            target = package / '.mim' / place
            target.parent.mkdir(parents=True, exist_ok=True)
            if self.editable_mode:
                target.symlink_to(os.path.relpath(source, target.parent.resolve()))
            elif source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__'))
            else:
                shutil.copy(source, target)


def mim_layout() -> dict[str, Path]:
    """What lies where in `.mim`.

    The repository's own layout, which model-index.yml speaks of, and the configs once more in a folder: mmengine takes
    only names with one, `rs2sam2::rs2sam2/rs2sam2_rrsisd.py`.
    """
    entries = ('model-index.yml', 'tools', *(f'configs/{path.name}' for path in (ROOT / 'configs').iterdir()))
    return {name: ROOT / name for name in entries} | {'configs/rs2sam2': ROOT / 'configs'}


setup(
    name='rs2sam2',
    version=VERSION,
    description='Referring remote-sensing image segmentation with RS2-SAM2, as an mmsegmentation extension',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    package_dir={'': 'projects'},
    packages=PACKAGES,
    py_modules=['rs2sam2_command'],
    # The model that travels along: bundles/demo.
    package_data={'rs2sam2': ['bundles/*/*', 'bundles/*/tokenizer/*']},
    cmdclass=dict(build_py=BuildWithMim),
    install_requires=requirements('runtime'),
    extras_require={name: requirements(name) for name in ('demo', 'geo', 'lora', 'onnx', 'parquet', 'ray', 'tests')}
    | {'serve': requirements('serve') + requirements('geo')},
    entry_points={'console_scripts': ['rs2sam2 = rs2sam2_command:main']},
)
