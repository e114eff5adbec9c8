"""Writes data sets in the on-disk layout of RRSIS-D, whole or not at all."""

import errno
import json
import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rs2sam2.errors import DataError
from rs2sam2.locks import scratch_folder

IMAGE_FOLDER = 'images/rrsisd/JPEGImages'
"""Where the layout has its images, whatever their format."""


@contextmanager
def new_folder(out: str | os.PathLike) -> Iterator[Path]:
    """A folder that appears under its name only when the block ends well.

    Args:
        out: The folder to be made; an empty one may be there already.

    Yields:
        A hidden folder beside it, to be filled.

    Raises:
        DataError: `out` holds something already, or cannot be made; the disk is full.
    """
    out = Path(out)
    with ExitStack() as stack:
        try:
            if out.exists() and (not out.is_dir() or any(out.iterdir())):
                raise DataError(f'{out} exists and is not an empty folder: remove it or name another one')
            out.parent.mkdir(parents=True, exist_ok=True)
            partial = stack.enter_context(scratch_folder(out.parent, f'.{out.name}.', '.partial')) / 'content'
            partial.mkdir()
        except OSError as error:
            raise DataError(f'the folder {out} cannot be made ({error.strerror}); name another one') from error
        try:
            yield partial
            partial.replace(out)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise DataError(f'the disk of {out} is full; free some or name another folder') from error


class RRSISDTables:
    """The content of `refs(unc).p` and `instances.json`, filled image by image; ids count from 0.

    Args:
        categories: Id and name of every class.
    """

    def __init__(self, categories: dict[int, str]) -> None:
        self.refs: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.categories = [{'id': key, 'name': name} for key, name in categories.items()]
        self._sentences = 0

    def add_image(self, file_name: str, size: tuple[int, int]) -> int:
        """Add an image of `size` (h, w); returns its id."""
        image_id = len(self.images)
        self.images.append({'id': image_id, 'file_name': file_name, 'height': size[0], 'width': size[1]})
        return image_id

    def add_object(self, image_id: int, rle: dict, category_id: int, bbox: Sequence[float], area: int) -> int:
        """Add an object, `bbox` being x1, y1, x2, y2 as RRSIS-D has it; returns its id."""
        ann_id = len(self.annotations)
        place = {'id': ann_id, 'image_id': image_id, 'segmentation': [rle], 'bbox': [float(side) for side in bbox]}
        self.annotations.append(place | {'area': area, 'category_id': category_id, 'iscrowd': 0})
        return ann_id

    def add_ref(
        self, ann_id: int, split: str, sentences: Sequence[str], no_target: bool = False, several: bool = False
    ) -> None:
        """Add what is said of an object, or with `no_target` of an object that is not there (its mask is empty).

        With `several` the sentences mean every object of a kind, and the annotation is all of them.
        """
        first = self._sentences
        self._sentences += len(sentences)
        annotation = self.annotations[ann_id]
        ref = {
            'ref_id': len(self.refs),
            'ann_id': ann_id,
            'image_id': annotation['image_id'],
            'category_id': annotation['category_id'],
            'split': split,
            'file_name': self.images[annotation['image_id']]['file_name'],
            'sent_ids': list(range(first, self._sentences)),
            'sentences': [
                {'sent_id': first + k, 'sent': text, 'raw': text, 'tokens': text.split()}
                for k, text in enumerate(sentences)
            ],
        }
        marks = {'no_target': no_target, 'several': several}
        self.refs.append(ref | {name: True for name, is_so in marks.items() if is_so})

    def write(self, root: Path) -> None:
        """Write both files below `root`; equal tables give equal bytes."""
        folder = root / 'rrsisd'
        folder.mkdir(parents=True, exist_ok=True)
        # By way of JSON, because a pickle's bytes tell which equal strings were one object.
        (folder / 'refs(unc).p').write_bytes(pickle.dumps(json.loads(json.dumps(self.refs)), protocol=4))
        content = {'images': self.images, 'annotations': self.annotations, 'categories': self.categories}
        (folder / 'instances.json').write_text(json.dumps(content))
