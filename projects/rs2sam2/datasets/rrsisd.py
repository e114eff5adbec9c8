"""RRSIS-D (arXiv 2312.12470), and data sets in its layout: a pickle of refs and a COCO-like file of masks."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from rs2sam2.datasets.base import RefSegDataset
from rs2sam2.datasets.safe_pickle import load_plain_pickle
from rs2sam2.errors import DataError
from rs2sam2.json_text import read_json

_OPTIONAL_KEYS = {'ann_id', 'category_id'}


class RRSISDDataset(RefSegDataset):
    """RRSIS-D on disk: `images/rrsisd/JPEGImages/*.jpg`, `rrsisd/refs(unc).p`, `rrsisd/instances.json`.

    A ref with one sentence gives the sample id `<ref_id>`; one with several gives `<ref_id>_<k>`, k from 0. The known
    flaws of the set are data: an empty mask is a sample, and a mask may differ from its image in size.

    Args:
        ann_file: The refs, a pickle of plain containers, below `data_root`.
        instances_file: The masks, below `data_root`.
        data_prefix: `img_path`, the folder of images, below `data_root`.
        **kwargs: Those of `RefSegDataset`; a ref that carries `no_target: True` means nothing in its image, one with
            `several: True` every object of a kind.
    """

    METAINFO: ClassVar[dict] = dict(
        **RefSegDataset.METAINFO,
        dataset_name='RRSIS-D',
        about='aerial photographs of 800 x 800 pixels, 20 kinds of objects',
        published_at='github.com/Lsan2401/RMSIN',
        categories=(
            'Expressway-Service-area',
            'Expressway-toll-station',
            'airplane',
            'airport',
            'baseballfield',
            'basketballcourt',
            'bridge',
            'chimney',
            'dam',
            'golffield',
            'groundtrackfield',
            'harbor',
            'overpass',
            'ship',
            'stadium',
            'storagetank',
            'tenniscourt',
            'trainstation',
            'vehicle',
            'windmill',
        ),
        split_counts=dict(train=12181, val=1740, test=3481),
    )
    REF_KEYS: ClassVar[dict] = dict(
        ref_id=(int, str),
        image_id=(int, str),
        ann_id=(int, str, type(None)),
        category_id=(int, str, type(None)),
        split=str,
        file_name=str,
        sentences=list,
    )

    def __init__(
        self,
        *,
        ann_file: str = 'rrsisd/refs(unc).p',
        instances_file: str = 'rrsisd/instances.json',
        data_prefix: dict | None = None,
        **kwargs,
    ) -> None:
        self.instances_file = instances_file
        data_prefix = data_prefix or dict(img_path='images/rrsisd/JPEGImages')
        super().__init__(ann_file=ann_file, data_prefix=data_prefix, **kwargs)

    def _join_prefix(self) -> None:
        super()._join_prefix()
        self.instances_file = os.path.join(self.data_root, self.instances_file)

    def read_samples(self) -> tuple[list[dict], set[str]]:
        """Read refs and masks; see `RefSegDataset.read_samples`."""
        refs = load_plain_pickle(self.ann_file)
        if not isinstance(refs, list) or not all(isinstance(ref, dict) for ref in refs):
            raise DataError(f'{self.ann_file} is not a list of refs; check ann_file')
        instances = InstancesFile(self.instances_file, self._metainfo['categories'], self.entry)
        samples: list[dict] = []
        known: set[str] = set()
        for index, ref in enumerate(refs):
            with self.entry():
                self._check_ref(ref, index)
                self._read_ref(ref, instances, samples, known)
        return samples, known

    def _read_ref(self, ref: dict, instances: 'InstancesFile', samples: list[dict], known: set[str]) -> None:
        ref_id, count = ref['ref_id'], len(ref['sentences'])
        sample_ids = [str(ref_id)] if count == 1 else [f'{ref_id}_{k}' for k in range(count)]
        known.update(sample_ids, (str(ref_id), str(ref['image_id'])))
        if ref['split'] != self.split:
            return
        wanted = [k for k, sample_id in enumerate(sample_ids) if not self.skips(sample_id, ref_id, ref['image_id'])]
        if not wanted:
            return
        target = self._target(ref, self.means_nothing(ref), instances)
        samples.extend([dict(target, sample_id=sample_ids[k], expression=self._expression(ref, k)) for k in wanted])

    def _check_ref(self, ref: dict, index: int) -> None:
        name = f'ref {ref["ref_id"]!r:.60}' if 'ref_id' in ref else f'the ref at place {index}'
        for key, kinds in self.REF_KEYS.items():
            if key not in ref and key not in _OPTIONAL_KEYS:
                raise DataError(f'{self.ann_file}: {name} has no {key}; mend the file')
            if not isinstance(ref.get(key), kinds) or isinstance(ref.get(key), bool):
                raise DataError(f'{self.ann_file}: {key} of {name} is {ref[key]!r:.80}; mend the file')
        if not ref['sentences']:
            raise DataError(f'{self.ann_file}: {name} has no sentence; mend the file')

    def _expression(self, ref: dict, k: int) -> str:
        sentence = ref['sentences'][k]
        if not isinstance(sentence, dict) or not isinstance(sentence.get('sent'), str):
            raise DataError(f'{self.ann_file}: sentence {k} of ref {ref["ref_id"]} has no text `sent`')
        return sentence['sent']

    def means_nothing(self, ref: dict) -> bool:
        """Whether a ref says that it means nothing in its image."""
        return bool(ref.get('no_target', False))

    def target_masks(self, ref: dict, instances: 'InstancesFile') -> tuple[list | dict, Any]:
        """What a ref means.

        Returns:
            Its segmentation (see `decode_segmentation`), and the id of its category or None.

        Raises:
            DataError: Its annotation is missing or has no segmentation.
        """
        name = f'ref {ref["ref_id"]}'
        annotation = instances.annotations.get(str(ref.get('ann_id')))
        if annotation is None:
            raise DataError(
                f'{self.instances_file} has no annotation {ref.get("ann_id")} for {name} of {self.ann_file}; '
                'use the two files of one release or list the ref in skip_ids'
            )
        if 'segmentation' not in annotation:
            raise DataError(f'{self.instances_file}: annotation {ref["ann_id"]} of {name} has no segmentation')
        category_id = ref.get('category_id')
        return annotation['segmentation'], annotation.get('category_id') if category_id is None else category_id

    def _target(self, ref: dict, no_target: bool, instances: 'InstancesFile') -> dict:
        """Build the fields that all sentences of a ref share."""
        segmentation: list | dict
        if no_target:
            category_id = ref.get('category_id')
            segmentation, category_id = [], None if isinstance(category_id, list) else category_id
        else:
            segmentation, category_id = self.target_masks(ref, instances)
        return dict(
            image_id=ref['image_id'],
            ann_id=ref.get('ann_id'),
            img_path=os.path.join(self.data_prefix['img_path'], ref['file_name']),
            category=instances.category(category_id, f'ref {ref["ref_id"]}'),
            segmentation=segmentation,
            mask_size=instances.sizes.get(str(ref['image_id'])),
            no_target=no_target,
            several=bool(ref.get('several', False)),
        )


class InstancesFile:
    """What `instances.json` knows, by id as text: one file writes 7 where another writes "7".

    Args:
        path: The file.
        categories: Names by number, where the file lists none.
        entry: Surrounds the reading of an entry; see `RefSegDataset.entry`.

    Attributes:
        annotations: by id.
        sizes: (h, w) of the images, by id.
        categories: names, by id.
    """

    def __init__(
        self, path: str, categories: tuple[str, ...], entry: Callable[[], AbstractContextManager] = nullcontext
    ) -> None:
        self.path = path
        content = read_json(path, 'check data_root and instances_file, or fetch it again')
        if not isinstance(content, dict) or not content.get('annotations'):
            raise DataError(f'{path} has no `annotations`; check instances_file')
        self.annotations = self._by_id(content, 'annotations', entry)
        images = self._by_id(content, 'images', entry)
        self.sizes = {
            key: (image['height'], image['width'])
            for key, image in images.items()
            if 'height' in image and 'width' in image
        }
        listed = self._by_id(content, 'categories', entry)
        for key, one in listed.items():
            if not isinstance(one.get('name'), str) or not one['name'].strip():
                raise DataError(f'{path}: category {key} has no name; write one')
        self.categories = {key: one['name'] for key, one in listed.items()}
        if not listed:
            self.categories = {str(number): name for number, name in enumerate(categories)}

    def _by_id(self, content: dict, table: str, entry: Callable[[], AbstractContextManager]) -> dict[str, dict]:
        rows = content.get(table) or []
        if not isinstance(rows, list):
            raise DataError(f'{self.path}: `{table}` is not a list')
        found: dict[str, dict] = {}
        for place, row in enumerate(rows):
            with entry():
                key = row.get('id') if isinstance(row, dict) else None
                if not isinstance(key, (int, str)) or isinstance(key, bool):
                    raise DataError(f'{self.path}: entry {place} of `{table}` has no id; mend the file')
                if str(key) in found:
                    raise DataError(f'{self.path} has the id {str(key)!r:.60} twice in `{table}`; mend the file')
                found[str(key)] = row
        return found

    def category(self, category_id: Any, name: str) -> str | None:
        """Name a category; None where the data set gives the object none."""
        if category_id is None:
            return None
        if not isinstance(category_id, (int, str)) or str(category_id) not in self.categories:
            raise DataError(f'{name} is of category {category_id!r:.60}, which {self.path} does not list')
        return self.categories[str(category_id)]
