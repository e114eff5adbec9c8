"""Packaging: the import name `rs2sam2` lives in `projects/rs2sam2`."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
PACKAGES = ['rs2sam2', *(f'rs2sam2.{name}' for name in find_packages(ROOT / 'projects/rs2sam2'))]


def requirements(name: str) -> list[str]:
    """Requirement lines of `requirements/NAME.txt`, without comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith(('#', '-'))]


setup(
    name='rs2sam2',
    version='0.1.0',
    description='Referring remote-sensing image segmentation with RS2-SAM2, as an mmsegmentation extension',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    package_dir={'rs2sam2': 'projects/rs2sam2'},
    packages=PACKAGES,
    install_requires=requirements('runtime'),
    extras_require={name: requirements(name) for name in ('demo', 'geo', 'lora', 'tests')},
    entry_points={'console_scripts': ['rs2sam2 = rs2sam2.cli.main:main']},
)
