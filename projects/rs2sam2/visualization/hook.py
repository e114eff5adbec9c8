"""The hook that draws predictions while a model is tested or validated."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from mmengine.dist import get_dist_info, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from rs2sam2.datasets.images import read_image
from rs2sam2.errors import ConfigError
from rs2sam2.structures import RefSegDataSample


def picture_name(sample_id: str, suffix: str = '.jpg') -> str:
    """A file name made from a sample id: letters, digits, `.`, `_`, `-` only, and another name for another id."""
    name = re.sub(r'[^A-Za-z0-9._-]+', '_', sample_id).strip('._')[:80]
    if name != sample_id or not name:
        # Ids that differ only in what was replaced or cut must not overwrite each other.
        digest = hashlib.sha256(sample_id.encode('utf-8', 'surrogatepass')).hexdigest()[:8]
        name = f'{name}-{digest}' if name else digest
    return name + suffix


class RefSegVisualizationHook(Hook):
    """Draws every tested sample, and in validation the first sample of every `interval`-th iteration.

    Pictures go to `vis/` in the work folder, or to the visualizer's `save_dir` where one is set (`--show-dir`);
    those of a validation to `val/iter_<n>/` in it. In distributed tests each process draws its own samples.

    Args:
        draw: draw at all; tools/test.py sets it for `--show-dir` and `--show`.
        interval: of validation iterations.
        show: open windows instead of writing files.
        wait_time: seconds a window stays; 0 until a key is pressed.
        max_images: draw the first so many samples of a test (of all processes together); None for all.
        format: `jpg` or `png`.
    """

    def __init__(
        self,
        draw: bool = False,
        interval: int = 50,
        show: bool = False,
        wait_time: float = 0.0,
        max_images: int | None = None,
        format: str = 'jpg',
    ):
        if format not in ('jpg', 'png'):
            raise ConfigError(f"RefSegVisualizationHook: format={format!r}; use 'jpg' or 'png'")
        self.draw = draw
        self.interval = interval
        self.show = show
        self.wait_time = wait_time
        self.max_images = max_images
        self.suffix = f'.{format}'
        self._seen = 0

    def before_test_epoch(self, runner: Runner) -> None:
        """Count from the first sample again."""
        self._seen = 0

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[RefSegDataSample]
    ) -> None:
        """Draw the first sample of every `interval`-th iteration."""
        if self.draw and batch_idx % self.interval == 0:
            self._draw(runner, outputs[0], self.folder(runner) / 'val' / f'iter_{runner.iter}', runner.iter)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence[RefSegDataSample]
    ) -> None:
        """Draw every sample of the batch, up to `max_images`."""
        if not self.draw:
            return
        rank, world_size = get_dist_info()
        for sample in outputs:
            # The samplers deal the samples out in turn, so this is the place of the sample in the data set.
            place = self._seen * world_size + rank
            self._seen += 1
            if self.max_images is None or place < self.max_images:
                self._draw(runner, sample, self.folder(runner), place)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Say where the pictures are."""
        if self.draw and not self.show and is_main_process():
            runner.logger.info(f'Pictures: {self.folder(runner)}')

    @staticmethod
    def folder(runner: Runner) -> Path:
        """Folder of the pictures."""
        save_dir = getattr(runner.visualizer, 'save_dir', None)
        # The Runner fills in its log folder where a config names none; the work folder itself is easier to find.
        if save_dir is None or Path(save_dir) == Path(runner.log_dir):
            return Path(runner.work_dir) / 'vis'
        return Path(save_dir)

    def _draw(self, runner: Runner, sample: RefSegDataSample, folder: Path, step: int) -> None:
        pixels = read_image(sample.img_path, 'RGB', 'restore it, or test without pictures')
        runner.visualizer.add_datasample(
            sample.sample_id,
            pixels,
            sample,
            show=self.show,
            wait_time=self.wait_time,
            out_file=None if self.show else str(folder / picture_name(sample.sample_id, self.suffix)),
            step=step,
        )
