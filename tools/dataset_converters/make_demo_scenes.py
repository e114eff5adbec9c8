"""The former name of `make_synthetic_scenes.py`; same options."""

import runpy
from pathlib import Path

if __name__ == '__main__':
    runpy.run_path(str(Path(__file__).with_name('make_synthetic_scenes.py')), run_name='__main__')
