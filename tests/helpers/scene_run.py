"""A run over scenes that takes its time, for tests that start it by torchrun or on Ray, and end it.

python scene_run.py SCENES OUT [--ray ADDRESS --workers N] [--seconds S]
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from rs2sam2.geo import blocks
from rs2sam2.geo.many import segment_scenes
from rs2sam2.geo.options import SceneOptions
from rs2sam2.one_line import one_line_errors
from rs2sam2.workers import open_workers


@dataclass
class SlowMaker:
    """Makes a predictor that sleeps, and marks brightness; a block of its runs is a while on its way to its name."""

    seconds: float

    def __call__(self) -> 'SlowMaker':
        replace = blocks.replace_durably

        def slowly(temporary: Path, path: Path) -> None:
            time.sleep(self.seconds / 2)
            replace(temporary, path)

        blocks.replace_durably = slowly
        return self

    @property
    def identity(self) -> dict:
        return {'name': 'slow'}

    def predict(self, images: list[np.ndarray], expression: str) -> np.ndarray:
        time.sleep(self.seconds)
        grey = [ndimage.uniform_filter(image.astype(np.float32).mean(2), 9) for image in images]
        return (np.stack(grey) - np.float32(120)) / 10


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument('scenes')
    parser.add_argument('out')
    parser.add_argument('--ray')
    parser.add_argument('--workers', type=int)
    parser.add_argument('--seconds', type=float, default=0.0)
    args = parser.parse_args()
    with one_line_errors(), open_workers(args.ray, args.workers) as workers:

        def settle(about: object) -> SceneOptions:
            print('at work', flush=True)
            return SceneOptions(window=96, block=150)

        how = dict(options=settle, workers=workers, progress=False)
        found = segment_scenes([args.scenes], ['x', 'y'], SlowMaker(args.seconds), args.out, **how)
        print(f'{len(found.done)} done, {found.before} before, {len(found.failed)} failed', flush=True)


if __name__ == '__main__':
    main()
