"""RISBench (arXiv 2410.08613): one image, one mask picture and one phrase a file name."""

from typing import ClassVar

from rs2sam2.datasets.base import RefSegDataset
from rs2sam2.datasets.refsegrs import RefSegRSDataset


class RISBenchDataset(RefSegRSDataset):
    """RISBench on disk: `img_rgb/<name>`, `mask/<name>`, `output_phrase_{split}.txt` with lines `<name> <phrase>`.

    The name has its ending (`test_1_1.png`) and is the sample's id. The set names no categories.

    Args:
        ann_file: The phrases, below `data_root`; by default those of `split`.
        data_prefix: `img_path` and `seg_map_path`, the folders of images and masks, below `data_root`.
        **kwargs: Those of `RefSegDataset`.
    """

    METAINFO: ClassVar[dict] = dict(
        **RefSegDataset.METAINFO,
        dataset_name='RISBench',
        about='aerial photographs of 512 x 512 pixels',
        split_counts=dict(train=26300, val=10013, test=16159),
    )
    FOREGROUND_ABOVE: ClassVar[int] = 0

    def __init__(self, *, data_prefix: dict | None = None, **kwargs) -> None:
        super().__init__(
            data_prefix=data_prefix or dict(img_path='img_rgb', seg_map_path='mask'),
            img_suffix='',
            seg_map_suffix='',
            **kwargs,
        )
