"""Where the repository and the shared data lie."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get('RS2SAM2_SHARED', ROOT.parent / 'shared'))
