"""A scene of 400 million pixels takes the memory of a small one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.paths import ROOT

pytest.importorskip('rasterio')

_MEASURED_RUN = """
import json, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from benchmark_scene import NullModel, run, write_synthetic_scene

folder, side = Path(sys.argv[2]), int(sys.argv[3])
write_synthetic_scene(folder / 'scene.tif', side, side)
Path('/proc/self/clear_refs').write_text('5')  # the peak starts anew: making the scene is not measured
result = run(folder / 'scene.tif', folder, NullModel(), 4, 1024)
# Not ru_maxrss: it keeps the parent's peak over fork and exec.
peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1]
print(json.dumps(dict(peak=int(peak), windows=result.windows_run, objects=result.objects, seconds=result.seconds)))
"""


def _measure(folder, side):
    folder.mkdir()
    tools = ROOT / 'tools/analysis_tools'
    command = [sys.executable, '-c', _MEASURED_RUN, str(tools), str(folder), str(side)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    for file in folder.iterdir():
        file.unlink()
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='reads the peak from /proc')
def test_memory_does_not_grow_with_the_scene(tmp_path):
    small = _measure(tmp_path / 'small', 4000)
    large = _measure(tmp_path / 'large', 20_000)
    print(small, large)
    assert large['windows'] > 20 * small['windows']
    assert large['objects'] > 20 * small['objects']
    assert large['peak'] <= 1.2 * small['peak']
