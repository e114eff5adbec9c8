"""Small trees in RRSIS-D's layout, and the pipeline that reads them."""

import json
import pickle

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from rs2sam2.datasets.transforms import (
    LoadReferringMask,
    LoadRGBImage,
    PackRefSegInputs,
    RandomBlackBoxes,
    ResizeTwoViews,
    TokenizeExpression,
)

JPEGS = 'images/rrsisd/JPEGImages'


def rle_of(mask):
    """The compressed run lengths of a mask, as JSON holds them."""
    rle = coco_mask.encode(np.asfortranarray(mask))
    return dict(size=list(rle['size']), counts=rle['counts'].decode())


def square(index, height=40, width=40):
    """A mask with one rectangle, lower with the index."""
    mask = np.zeros((height, width), np.uint8)
    mask[index : index + 9, 5:20] = 1
    return mask


def ref(number, split, sentences=None, **more):
    """A ref of RRSIS-D's form, for the image and the annotation of its number."""
    sentences = [f'the ship number {number}'] if sentences is None else sentences
    fields = dict(
        ref_id=number,
        ann_id=number,
        image_id=number,
        category_id=13,
        split=split,
        file_name=f'{number:05d}.jpg',
        sent_ids=list(range(len(sentences))),
        sentences=[dict(sent_id=k, sent=s, raw=s, tokens=s.split()) for k, s in enumerate(sentences)],
    )
    return fields | more


def annotation(number, **more):
    """An annotation of RRSIS-D's form: a rectangle."""
    fields = dict(id=number, image_id=number, category_id=13, bbox=[5, 0, 20, 9], area=102243)
    return fields | dict(segmentation=[rle_of(square(number % 30))]) | more


def write_rrsisd(root, refs, annotations, **instances):
    """Write RRSIS-D's tree, with a plain picture for every ref that has none; returns the root."""
    (root / JPEGS).mkdir(parents=True, exist_ok=True)
    (root / 'rrsisd').mkdir(exist_ok=True)
    for one in refs:
        path = root / JPEGS / one['file_name']
        if not path.exists():
            Image.fromarray(np.full((40, 40, 3), one['image_id'] % 256, np.uint8)).save(path)
    (root / 'rrsisd/refs(unc).p').write_bytes(pickle.dumps(refs))
    (root / 'rrsisd/instances.json').write_text(json.dumps(dict(annotations=annotations, **instances)))
    return root


def letters(text):
    """A tokenizer: a token a letter."""
    return [0, *(ord(letter) for letter in text), 2]


PIPELINE = [
    LoadRGBImage(),
    LoadReferringMask(),
    RandomBlackBoxes(size=4),
    ResizeTwoViews(64, 16),
    TokenizeExpression(letters),
    PackRefSegInputs(),
]
