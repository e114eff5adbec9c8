"""RRSIS-D (arXiv 2312.12470), and data sets in its layout: a pickle of refs and a COCO-like file of masks."""

import json
import os
from typing import Any, ClassVar

from rs2sam2.datasets.base import RefSegDataset
from rs2sam2.datasets.safe_pickle import load_plain_pickle
from rs2sam2.errors import DataError

_OPTIONAL_KEYS = {'ann_id', 'category_id'}


class RRSISDDataset(RefSegDataset):
    """RRSIS-D on disk: `images/rrsisd/JPEGImages/*.jpg`, `rrsisd/refs(unc).p`, `rrsisd/instances.json`.

    A ref with one sentence gives the sample id `<ref_id>`; one with several gives `<ref_id>_<k>`, k from 0. The known
    flaws of the set are data: an empty mask is a sample, and a mask may differ from its image in size.

    Args:
        ann_file: The refs, a pickle of plain containers, below `data_root`.
        instances_file: The masks, below `data_root`.
        data_prefix: `img_path`, the folder of images, below `data_root`.
        **kwargs: Those of `RefSegDataset`; a ref that carries `no_target: True` means nothing in its image.
    """

    METAINFO: ClassVar[dict] = dict(
        **RefSegDataset.METAINFO,
        dataset_name='RRSIS-D',
        about='aerial photographs of 800 x 800 pixels, 20 kinds of objects',
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
        refs = self._read_refs()
        instances = InstancesFile(self.instances_file, self._metainfo['categories'])
        samples, known = [], set()
        for ref in refs:
            ref_id, count = ref['ref_id'], len(ref['sentences'])
            sample_ids = [str(ref_id)] if count == 1 else [f'{ref_id}_{k}' for k in range(count)]
            known.update(sample_ids, (str(ref_id), str(ref['image_id'])))
            if ref['split'] != self.split:
                continue
            wanted = [k for k, sample_id in enumerate(sample_ids) if not self.skips(sample_id, ref_id, ref['image_id'])]
            if not wanted:
                continue
            no_target = self.means_nothing(ref)
            target = self._target(ref, no_target, instances)
            samples.extend(dict(target, sample_id=sample_ids[k], expression=self._expression(ref, k)) for k in wanted)
        return samples, known

    def _read_refs(self) -> list[dict]:
        refs = load_plain_pickle(self.ann_file)
        if not isinstance(refs, list) or not all(isinstance(ref, dict) for ref in refs):
            raise DataError(f'{self.ann_file} is not a list of refs; check ann_file')
        for index, ref in enumerate(refs):
            name = f'ref {ref["ref_id"]}' if 'ref_id' in ref else f'the ref at place {index}'
            for key, kinds in self.REF_KEYS.items():
                if key not in ref and key not in _OPTIONAL_KEYS:
                    raise DataError(f'{self.ann_file}: {name} has no {key}; mend the file')
                if not isinstance(ref.get(key), kinds):
                    raise DataError(f'{self.ann_file}: {key} of {name} is {ref[key]!r}; mend the file')
            if not ref['sentences']:
                raise DataError(f'{self.ann_file}: {name} has no sentence; mend the file')
        return refs

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
        annotation = instances.annotations.get(ref.get('ann_id'))
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
            mask_size=instances.sizes.get(ref['image_id']),
            no_target=no_target,
        )


def _is_entry(row: Any, fields: tuple[str, ...]) -> bool:
    return isinstance(row, dict) and all(isinstance(row.get(field), (int, str)) for field in fields)


class InstancesFile:
    """What `instances.json` knows: annotations by id, image sizes (h, w) by id, category names by id."""

    def __init__(self, path: str, categories: tuple[str, ...]) -> None:
        self.path = path
        content = self._read()
        self.annotations: dict[Any, dict] = {}
        for annotation in content['annotations']:
            if annotation['id'] in self.annotations:
                raise DataError(f'{path} has the annotation id {annotation["id"]} twice')
            self.annotations[annotation['id']] = annotation
        self.sizes = {
            image['id']: (image['height'], image['width'])
            for image in content.get('images', ())
            if 'height' in image and 'width' in image
        }
        listed = content.get('categories')
        self.categories = {one['id']: one['name'] for one in listed} if listed else dict(enumerate(categories))

    def _read(self) -> dict:
        try:
            with open(self.path, encoding='utf-8') as file:
                content = json.load(file)
        except OSError as error:
            raise DataError(f'cannot read {self.path}: {error.strerror}; check data_root and instances_file') from error
        except (ValueError, RecursionError) as error:
            raise DataError(f'{self.path} is not whole JSON ({error}); fetch it again') from error
        needed = dict(annotations=('id',), images=('id',), categories=('id', 'name'))
        if not isinstance(content, dict) or not content.get('annotations'):
            raise DataError(f'{self.path} has no `annotations`; check instances_file')
        for key, fields in needed.items():
            rows = content.get(key) or []
            if not isinstance(rows, list) or not all(_is_entry(row, fields) for row in rows):
                raise DataError(f'{self.path}: `{key}` is not a list of entries with {" and ".join(fields)}')
        return content

    def category(self, category_id: Any, name: str) -> str | None:
        """Name a category; None where the data set gives the object none."""
        if category_id is None:
            return None
        if not isinstance(category_id, (int, str)) or category_id not in self.categories:
            raise DataError(f'{name} is of category {category_id}, which {self.path} does not list')
        return self.categories[category_id]
