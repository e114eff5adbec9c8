"""One's own data: a JSON object a line, with an image, what is said of it, and the mask of what is meant."""

import os
from typing import Any, ClassVar

from rs2sam2.datasets.base import RefSegDataset
from rs2sam2.datasets.images import image_size
from rs2sam2.datasets.masks import check_segmentation
from rs2sam2.errors import DataError
from rs2sam2.files import read_regular
from rs2sam2.json_text import parse_json

MASK_FIELDS = ('mask', 'rle', 'polygons', 'boxes')
_KINDS: dict[str, type | tuple[type, ...]] = {
    'id': (str, int),
    'image': str,
    'expression': str,
    'expressions': list,
    'mask': str,
    'rle': (dict, list),
    'polygons': list,
    'boxes': list,
    'category': str,
    'no_target': bool,
    'geo': dict,
}
# Corners may lie on the border, and annotation tools round outwards.
_OUTSIDE = 1.0


class JSONLRefSegDataset(RefSegDataset):
    """JSON lines on disk; docs/your_data.md shows them.

    A line has `image` (path below `data_prefix['img_path']`), `expression` or a list `expressions`, and exactly one of

    - `mask`: path of a picture below `data_prefix['seg_map_path']`, of the image's size, foreground where it is not 0;
    - `rle`: one COCO RLE, or a list of them;
    - `polygons`: a list of flat `[x0, y0, x1, y1, ...]`, pixels;
    - `boxes`: a list of `[x1, y1, x2, y2]`, pixels, x2 and y2 excluded; the mask is their union;
    - `no_target: true`, for a sentence that means nothing in the image.

    Optional: `id` (else the number of the line, from 1; a line with several expressions gives `<id>_<k>`), `category`,
    and `geo`, which tools/dataset_converters/gis2jsonl.py writes and nothing here reads. Masks, polygons and boxes are
    checked against their image when the set is built, so that a training does not stop on them later.

    Args:
        ann_file: The lines, below `data_root`; by default `<split>.jsonl`.
        data_prefix: `img_path` and `seg_map_path`, folders below `data_root`; by default `data_root` itself.
        no_target: 'keep' is the default here; see `RefSegDataset`.
        **kwargs: Those of `RefSegDataset`.

    Raises:
        DataError: A line cannot be used; the text names it as file:number.
    """

    METAINFO: ClassVar[dict] = dict(
        **RefSegDataset.METAINFO,
        dataset_name='JSON lines',
        about="its user's own data",
        published_at='docs/your_data.md',
    )

    def __init__(
        self,
        *,
        split: str = 'train',
        ann_file: str | None = None,
        data_prefix: dict | None = None,
        no_target: str = 'keep',
        **kwargs,
    ) -> None:
        super().__init__(
            split=split,
            ann_file=ann_file or f'{split}.jsonl',
            data_prefix=data_prefix or dict(img_path='', seg_map_path=''),
            no_target=no_target,
            **kwargs,
        )

    def read_samples(self) -> tuple[list[dict], set[str]]:
        """Read the lines; see `RefSegDataset.read_samples`."""
        samples: list[dict] = []
        known: set[str] = set()
        for number, text in self._lines():
            with self.entry():
                self._read_line(text, number, samples, known)
        return samples, known

    def _read_line(self, text: str, number: int, samples: list[dict], known: set[str]) -> None:
        where = f'{self.ann_file}:{number}'
        line = parse_line(text, where)
        line_id = str(line.get('id', number))
        sentences = line['expressions'] if 'expressions' in line else [line['expression']]
        ids = [line_id] if len(sentences) == 1 else [f'{line_id}_{k}' for k in range(len(sentences))]
        known.update(ids, (line_id, line['image']))
        fields = dict(
            image_id=line['image'],
            ann_id=line_id,
            img_path=os.path.join(self.data_prefix['img_path'], line['image']),
            category=line.get('category'),
            no_target=line.get('no_target', False),
            where=where,
            **self._mask(line, where),
        )
        wanted = [k for k, one in enumerate(ids) if not self.skips(one, line_id, line['image'])]
        samples += [dict(fields, sample_id=ids[k], expression=sentences[k]) for k in wanted]

    @staticmethod
    def check_sample(sample: dict, size: tuple[int, int]) -> None:
        """Check that mask, polygons or boxes fit an image of `size`; see `RefSegDataset.check_sample`."""
        where = sample['where']
        if 'seg_map_path' in sample:
            found = image_size(sample['seg_map_path'])
        else:
            _check_inside(sample['segmentation'], size, where)
            found = check_segmentation(sample['segmentation'], size, where)[1]
        if found != size:
            raise DataError(
                f'{where}: its mask is {found[0]} x {found[1]} (h x w), its image {sample["img_path"]} '
                f'{size[0]} x {size[1]}; make the mask for this image'
                + (' as viewers show it: its EXIF orientation turns it' if found == size[::-1] else '')
            )

    def _check_files(self, samples: list[dict]) -> None:
        super()._check_files(samples)
        sizes = {path: image_size(path) for path in {sample['img_path'] for sample in samples}}
        # Sentences of one line share its mask.
        for sample in {sample['where']: sample for sample in samples}.values():
            self.check_sample(sample, sizes[sample['img_path']])

    def _lines(self) -> list[tuple[int, str]]:
        try:
            lines = read_regular(self.ann_file, 'check data_root and ann_file').decode('utf-8-sig').split('\n')
        except UnicodeDecodeError as error:
            raise DataError(f'{self.ann_file} is not UTF-8 text ({error}); save it as UTF-8') from error
        return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]

    def _mask(self, line: dict, where: str) -> dict:
        if 'mask' in line:
            return dict(seg_map_path=os.path.join(self.data_prefix['seg_map_path'], line['mask']), seg_threshold=0)
        if 'boxes' in line:
            return dict(segmentation=[_polygon_of_box(box, where) for box in line['boxes']], mask_size=None)
        segmentation = line.get('polygons', line.get('rle', []))
        return dict(segmentation=segmentation, mask_size=None)


def parse_line(text: str, where: str) -> dict:
    """Read one line and check its fields.

    Args:
        text: The line.
        where: Its file:number, for the error text.

    Returns:
        Its fields.

    Raises:
        DataError: It is no JSON object, or a field is unknown, missing, of another kind, or too many.
    """
    try:
        line = parse_json(text)
    except ValueError as error:
        raise DataError(f'{where}: not a whole JSON object ({error}); write one object a line') from error
    if not isinstance(line, dict):
        raise DataError(f'{where}: {type(line).__name__} instead of a JSON object; write one object a line')
    for key, value in line.items():
        if key not in _KINDS:
            raise DataError(f'{where}: unknown field {key!r}; there are {", ".join(_KINDS)}')
        if not isinstance(value, _KINDS[key]) or (isinstance(value, bool) and key != 'no_target'):
            raise DataError(f'{where}: {key} is {value!r:.80}; see docs/your_data.md')
    for key in ('id', 'image', 'mask', 'category'):
        if isinstance(line.get(key), str) and not line[key].strip():
            raise DataError(f'{where}: {key} is an empty text; write one, or leave out the field')
    _exactly_one(line, ('image',), where, 'name the image file')
    _exactly_one(line, ('expression', 'expressions'), where, 'write what is meant')
    if not all(isinstance(one, str) for one in line.get('expressions', ['']) or [None]):
        raise DataError(f'{where}: expressions is not a list of texts, or has none; write what is meant')
    masks = [key for key in MASK_FIELDS if key in line]
    if line.get('no_target', False):
        if masks:
            raise DataError(f'{where}: no_target is true, but there is {masks[0]!r}; remove one of them')
        return line
    if not masks:
        raise DataError(
            f'{where}: the sentence has no object; give one of {", ".join(MASK_FIELDS)}, or "no_target": true where it '
            'means nothing in the image'
        )
    _exactly_one(line, MASK_FIELDS, where, '')
    if not line[masks[0]]:
        raise DataError(f'{where}: {masks[0]} is empty; a sentence that means nothing has "no_target": true instead')
    for polygon in line.get('polygons', ()):
        if not isinstance(polygon, list) or not all(_is_number(value) for value in polygon):
            raise DataError(f'{where}: polygons is not a list of flat lists of numbers [x0, y0, x1, y1, ...]')
    if not all(
        isinstance(one, dict) for one in ([line['rle']] if isinstance(line.get('rle'), dict) else line.get('rle', ()))
    ):
        raise DataError(f'{where}: rle is not an RLE {{"size": [h, w], "counts": ...}} or a list of them')
    return line


def _exactly_one(line: dict, keys: tuple[str, ...], where: str, remedy: str) -> None:
    found = [key for key in keys if key in line]
    if not found:
        raise DataError(f'{where}: no {" or ".join(keys)}; {remedy}')
    if len(found) > 1:
        raise DataError(f'{where}: both {found[0]} and {found[1]}; keep one')


def _polygon_of_box(box: Any, where: str) -> list[float]:
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
        raise DataError(f'{where}: the box {box!r:.80} is not [x1, y1, x2, y2]')
    x1, y1, x2, y2 = box
    if x2 <= x1 or y2 <= y1:
        raise DataError(f'{where}: the box {box} has no area; write [x1, y1, x2, y2] with x1 < x2 and y1 < y2')
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def _check_inside(segmentation: list | dict, size: tuple[int, int], where: str) -> None:
    height, width = size
    for polygon in segmentation if isinstance(segmentation, list) else ():
        if isinstance(polygon, dict):
            continue
        for values, limit, axis in ((polygon[::2], width, 'x'), (polygon[1::2], height, 'y')):
            far = next((value for value in values if not -_OUTSIDE <= value <= limit + _OUTSIDE), None)
            if far is not None:
                raise DataError(
                    f'{where}: {axis} = {far} lies outside the image of {width} x {height} pixels (w x h); clip the '
                    'outline, or check which image it belongs to'
                )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
