"""The packages of this environment but those that come with torch, as links: what runs on them needs none."""

import os
import sysconfig
from pathlib import Path

WITH_TORCH = ('torch', 'mm', 'onedl', 'transformers', 'sam2', 'peft', 'accelerate', 'functorch', 'triton', 'nvidia')
# What lies beside the packages to find editable installs, or the environment's own packages.
_FINDERS = ('.pth', '.egg-link')


def environment_without_torch(folder: Path, package: Path) -> dict[str, str]:
    """Variables for `python -S` (no packages of its own).

    Args:
        folder: where the links are made.
        package: folder that holds `rs2sam2`.
    """
    folder.mkdir()
    places = {Path(sysconfig.get_path(name)) for name in ('purelib', 'platlib')}
    places |= {Path(module.__file__).parents[1] for module in (__import__('numpy'), __import__('onnxruntime'))}
    for entry in (entry for place in places for entry in place.iterdir()):
        known = entry.name.startswith(WITH_TORCH) or entry.suffix in _FINDERS or 'editable' in entry.name
        if not known and not (folder / entry.name).exists():
            (folder / entry.name).symlink_to(entry)
    kept = {key: value for key, value in os.environ.items() if not key.startswith('PYTHON')}
    return {**kept, 'PYTHONPATH': os.pathsep.join(map(str, (package, folder)))}
