"""Where the repository, its configs and the shared data lie."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get('RS2SAM2_SHARED', ROOT.parent / 'shared'))
# Every config that is shipped to be run, from the root of the repository.
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts)
