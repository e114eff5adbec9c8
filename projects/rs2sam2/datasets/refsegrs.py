"""RefSegRS (arXiv 2306.08625): one image, one mask picture and one phrase an id."""

import os
from typing import ClassVar

from rs2sam2.datasets.base import RefSegDataset
from rs2sam2.errors import DataError
from rs2sam2.files import read_regular


class RefSegRSDataset(RefSegDataset):
    """RefSegRS on disk: `images/<id>.tif`, `masks/<id>.tif`, `output_phrase_{split}.txt` with lines `<id> <phrase>`.

    It has no categories.

    Args:
        ann_file: The phrases, below `data_root`; by default those of `split`.
        data_prefix: `img_path` and `seg_map_path`, the folders of images and masks, below `data_root`.
        img_suffix: Ending of image names.
        seg_map_suffix: Ending of mask names.
        **kwargs: Those of `RefSegDataset`.
    """

    METAINFO: ClassVar[dict] = dict(
        **RefSegDataset.METAINFO,
        dataset_name='RefSegRS',
        about='aerial photographs of 512 x 512 pixels: roads, vehicles, buildings, green',
        published_at='arXiv 2306.08625; images also at huggingface.co/datasets/JessicaYuan/RefSegRS',
        split_counts=dict(train=2172, val=431, test=1817),
    )

    # The masks are grey pictures with soft edges; the set's own code takes what is brighter than this (0 ... 255).
    FOREGROUND_ABOVE: ClassVar[int] = 50

    def __init__(
        self,
        *,
        split: str = 'train',
        ann_file: str | None = None,
        data_prefix: dict | None = None,
        img_suffix: str = '.tif',
        seg_map_suffix: str = '.tif',
        **kwargs,
    ) -> None:
        super().__init__(
            split=split,
            ann_file=ann_file or f'output_phrase_{split}.txt',
            data_prefix=data_prefix or dict(img_path='images', seg_map_path='masks'),
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            **kwargs,
        )

    def read_samples(self) -> tuple[list[dict], set[str]]:
        """Read the phrases; see `RefSegDataset.read_samples`."""
        try:
            text = read_regular(self.ann_file, 'check data_root and ann_file').decode('utf-8-sig')
        except UnicodeDecodeError as error:
            raise DataError(f'{self.ann_file} is not UTF-8 text ({error}); fetch it again') from error
        # Not splitlines, which takes separators inside a sentence for ends of lines.
        lines = text.replace('\r\n', '\n').split('\n')
        samples, known = [], set()
        for line in lines:
            if not line.strip():
                continue
            sample_id, *phrase = line.split(maxsplit=1)
            known.add(sample_id)
            if not self.skips(sample_id):
                samples.append(self._sample(sample_id, phrase[0] if phrase else ''))
        return samples, known

    def _sample(self, sample_id: str, expression: str) -> dict:
        return dict(
            sample_id=sample_id,
            image_id=sample_id,
            ann_id=sample_id,
            img_path=os.path.join(self.data_prefix['img_path'], sample_id + self.img_suffix),
            expression=expression,
            category=None,
            no_target=False,
            seg_map_path=os.path.join(self.data_prefix['seg_map_path'], sample_id + self.seg_map_suffix),
            seg_threshold=self.FOREGROUND_ABOVE,
        )
