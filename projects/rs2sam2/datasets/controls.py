"""Sanity controls for evaluation: the same samples with a wrong sentence or a wrong image.

A model that reads sentence and image must score far lower on them. Which sentence or image a sample gets depends only
on the samples, never on a random state.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

from rs2sam2.datasets.stable_hash import stable_hash
from rs2sam2.errors import DataError


def shuffle_expressions(samples: list[dict]) -> None:
    """Give each sample, in place, the expression of another object; the mask stays.

    The other object is one of the same image whose sentence reads differently, so that the class often still fits and
    only the rest of the sentence is wrong. Where the image has none, it is any object with another sentence.

    Args:
        samples: Fields of `RefSegDataset`; `expression` is replaced.

    Raises:
        DataError: All samples carry one sentence.
    """
    by_image = defaultdict(list)
    for index, sample in enumerate(samples):
        by_image[sample['image_id']].append(index)
    expressions = [sample['expression'] for sample in samples]
    objects = [(sample['image_id'], sample['ann_id']) for sample in samples]
    for index, sample in enumerate(samples):
        neighbours = [
            i
            for i in by_image[sample['image_id']]
            if objects[i] != objects[index] and expressions[i] != expressions[index]
        ]
        if neighbours:
            other = neighbours[stable_hash('expression', sample['sample_id']) % len(neighbours)]
        else:
            other = _first_other(
                expressions,
                stable_hash('expression', sample['sample_id']),
                expressions[index],
                'every sample has the same expression: expressions cannot be shuffled',
            )
        sample['expression'] = expressions[other]


def shuffle_images(samples: list[dict]) -> None:
    """Give each sample, in place, the file of another image; sentence and mask stay.

    Args:
        samples: Fields of `RefSegDataset`; `img_path` is replaced.

    Raises:
        DataError: All samples have one image.
    """
    paths = sorted({sample['img_path'] for sample in samples})
    for sample in samples:
        other = _first_other(
            paths,
            stable_hash('image', sample['sample_id']),
            sample['img_path'],
            'every sample has the same image: images cannot be shuffled',
        )
        sample['img_path'] = paths[other]


def _first_other(values: Sequence[str], start: int, own: str, error: str) -> int:
    for step in range(len(values)):
        index = (start + step) % len(values)
        if values[index] != own:
            return index
    raise DataError(error)


CONTROLS: dict[str, Callable[[list[dict]], None]] = {
    'shuffled_expressions': shuffle_expressions,
    'shuffled_images': shuffle_images,
}
