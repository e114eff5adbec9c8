"""A scene that is stopped leaves nothing; what kill -9 leaves is removed by the next run, and only that."""

import signal
import subprocess
import sys

import pytest

pytest.importorskip('rasterio')

from helpers.geo_scenes import BrightThings, blobs, write_scene
from helpers.paths import ROOT
from rs2sam2.geo.scene import segment_scene

RUN = """
import sys, time
sys.path.insert(0, sys.argv[1])
from helpers.geo_scenes import BrightThings
from rs2sam2.geo.scene import segment_scene
from rs2sam2.signals import stop_by_exception

class Slow(BrightThings):
    def predict(self, images, expression):
        print('at work', flush=True)
        time.sleep(60)

with stop_by_exception():
    segment_scene(sys.argv[2], 'x', Slow(), mask=sys.argv[3], progress=False)
"""


@pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_leftovers(tmp_path, how):
    scene = write_scene(tmp_path / 'scene.tif', blobs(150, 150))
    out = tmp_path / 'out'

    def leftovers():
        return list(out.glob('.rs2sam2-*.partial'))

    def start():
        words = [sys.executable, '-c', RUN, str(ROOT / 'tests'), str(scene), str(out / 'mask.tif')]
        run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert 'at work' in run.stdout.readline()
        return run

    run = start()
    assert len(leftovers()) == 1
    run.send_signal(how)
    run.communicate(timeout=30)
    assert len(leftovers()) == (how == signal.SIGKILL)
    # A run that is at work keeps its own.
    living = start()
    assert len(leftovers()) == 1
    segment_scene(scene, 'x', BrightThings(), mask=out / 'other.tif', progress=False)
    assert len(leftovers()) == 1
    living.kill()
    living.communicate()
    segment_scene(scene, 'x', BrightThings(), mask=out / 'other.tif', progress=False)
    assert [one.name for one in out.iterdir()] == ['other.tif']
