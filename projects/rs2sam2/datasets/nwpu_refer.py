"""NWPU-Refer, and other sets whose sentences mean one object, several, or none (gRefCOCO's form of refs)."""

import re
from typing import Any, ClassVar

from mmengine.logging import print_log

from rs2sam2.datasets.base import RefSegDataset
from rs2sam2.datasets.rrsisd import InstancesFile, RRSISDDataset
from rs2sam2.errors import ConfigError, DataError

_CHINESE = re.compile(r'[㐀-䶿一-鿿豈-﫿]')
LANGUAGES = ('all', 'en', 'zh')


class NWPUReferDataset(RRSISDDataset):
    """NWPU-Refer on disk: `images/*`, `new_refs(unc).p`, `new_instances.json` with polygons.

    It differs from RRSIS-D in what a ref means: `ann_id` is one id or a list of ids, whose masks are united. A ref
    means nothing in its image if and only if it says so: `no_target: True`, or `ann_id` -1 or `[-1]` (gRefCOCO's mark,
    arXiv 2306.00968). The
    category is that of the objects, None where they have different ones.

    Args:
        language: 'en' keeps the sentences without Chinese characters, 'zh' those with them, 'all' both.
        no_target: 'keep' is the default here; see `RefSegDataset`.
        **kwargs: Those of `RRSISDDataset`.
    """

    METAINFO: ClassVar[dict] = dict(
        **RefSegDataset.METAINFO, dataset_name='NWPU-Refer', about='aerial photographs', categories=()
    )
    REF_KEYS: ClassVar[dict] = RRSISDDataset.REF_KEYS | dict(
        ann_id=(int, str, list, type(None)), category_id=(int, str, list, type(None))
    )

    def __init__(
        self,
        *,
        ann_file: str = 'new_refs(unc).p',
        instances_file: str = 'new_instances.json',
        data_prefix: dict | None = None,
        no_target: str = 'keep',
        language: str = 'all',
        **kwargs,
    ) -> None:
        if language not in LANGUAGES:
            raise ConfigError(f'language={language!r} of {type(self).__name__}: there are {", ".join(LANGUAGES)}')
        self.language = language
        super().__init__(
            ann_file=ann_file,
            instances_file=instances_file,
            data_prefix=data_prefix or dict(img_path='images'),
            no_target=no_target,
            **kwargs,
        )

    def read_samples(self) -> tuple[list[dict], set[str]]:
        """Read refs and masks, and keep the sentences of the language; see `RefSegDataset.read_samples`."""
        samples, known = super().read_samples()
        if self.language == 'all':
            return samples, known
        kept = [one for one in samples if bool(_CHINESE.search(one['expression'])) == (self.language == 'zh')]
        print_log(
            f'{self.ann_file}: {len(samples) - len(kept):,} sentences are not {self.language}: dropped', 'current'
        )
        return kept, known

    def means_nothing(self, ref: dict) -> bool:
        """Whether a ref says that it means nothing in its image.

        Raises:
            DataError: It has no object and does not say so, or it has objects and says that it has none.
        """
        ids = self._ann_ids(ref)
        marked = super().means_nothing(ref) or list(map(str, ids)) == ['-1']
        objects = [one for one in ids if str(one) != '-1']
        if marked and objects:
            raise DataError(
                f'{self.ann_file}: ref {ref["ref_id"]} is marked no_target but has the objects {objects}; mend the file'
            )
        if not marked and (not objects or len(objects) != len(ids)):
            raise DataError(
                f'{self.ann_file}: ref {ref["ref_id"]} has no object (ann_id {ref.get("ann_id")!r}) and is not marked '
                'no_target; mend the file or list the ref in skip_ids'
            )
        return marked

    def target_masks(self, ref: dict, instances: InstancesFile) -> tuple[list | dict, Any]:
        """Masks of all objects of a ref; see `RRSISDDataset.target_masks`."""
        parts: list = []
        categories = []
        for ann_id in self._ann_ids(ref):
            segmentation, category_id = super().target_masks({**ref, 'ann_id': ann_id, 'category_id': None}, instances)
            # A dict is one RLE, a list that begins with a number one polygon; else a list of RLEs or polygons.
            several = isinstance(segmentation, list) and (not segmentation or isinstance(segmentation[0], (list, dict)))
            parts += segmentation if several else [segmentation]
            categories.append(category_id)
        return parts, categories[0] if all(one == categories[0] for one in categories) else None

    @staticmethod
    def _ann_ids(ref: dict) -> list:
        ids = ref.get('ann_id')
        return ids if isinstance(ids, list) else [] if ids is None else [ids]
