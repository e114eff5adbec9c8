"""How near an exported model is to the one that it was made from, before its file gets its name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from rs2sam2.errors import CheckpointError
from rs2sam2.inference.images import InputImage
from rs2sam2.inference.prediction import resize_logits
from rs2sam2.inference.torch_inferencer import TorchInferencer
from rs2sam2.synthetic.scene import draw_scene

LARGEST = 1e-4
"""Of an array's standard deviation: more than this is no fp32 of the same model."""
EXPRESSIONS = (
    ('the left one of the two storage tanks',),
    ('ship', 'the small gray airplane at the top of the picture'),
    ('the tennis court on the right', 'vehicle', 'the baseball field next to the river in the middle of the picture'),
)
"""Of the three inputs: batches of one, two and three, short and long texts together."""

Feeds = dict[str, np.ndarray]


def example_batches(inferencer: TorchInferencer) -> Iterator[tuple[list[dict], Any]]:
    """Three batches of drawn scenes, prepared: the views as the pipeline gives them, and the model's own batch."""
    rng = np.random.default_rng(0)
    for expressions in EXPRESSIONS:
        scene = InputImage(draw_scene(rng).image, 'a drawn scene')
        image = inferencer.prepare_image(scene)
        views = [inferencer.prepare(image, text).views['identity'] for text in expressions]
        yield views, inferencer.model.data_preprocessor(inferencer.collate_fn(views), False)['inputs']


def feeds_of_views(views: Sequence[dict], text: tuple[torch.Tensor, torch.Tensor]) -> Feeds:
    """The graph's inputs of a batch; `text` is the ids and the mask as the preprocessor pads them."""
    samples = [view['inputs'] for view in views]
    feeds = {'image': torch.stack([sample.image for sample in samples]).numpy()}
    feeds |= {'token_ids': text[0].numpy(), 'text_mask': text[1].numpy()}
    if samples[0].union_image is not None:
        feeds['union_image'] = torch.stack([sample.union_image for sample in samples]).numpy()
    return feeds


def compare(
    run: Callable[[Feeds], Mapping[str, np.ndarray]],
    inputs: Sequence[Feeds],
    expected: Sequence[Mapping[str, np.ndarray]],
    exact: bool,
    size: int,
) -> dict[str, Any]:
    """Run the exported model on the inputs and hold it against what the model itself said.

    Args:
        run: the exported model, by names.
        inputs: of the graph.
        expected: what PyTorch gave.
        exact: it computes with the same weights: then more than `LARGEST` is refused.
        size: side of the view, at which pixels of masks are counted.

    Returns:
        What the file's metadata say: the largest difference over the spread of each output, the share of mask pixels
        that changed, of all pixels and of those that either of the two has for foreground.

    Raises:
        CheckpointError: it is another model, or gives NaN.
    """
    largest: dict[str, float] = {}
    changed = either = pixels = 0
    for feeds, known in zip(inputs, expected, strict=True):
        found = run(feeds)
        for name, reference in known.items():
            # Scores are a number a sample: they have no spread of their own, and are compared as they are.
            spread = float(reference.std()) if reference.ndim > 1 else 1.0
            difference = float(np.abs(found[name] - reference).max()) / max(spread, 1e-12)
            if not np.isfinite(found[name]).all():
                raise CheckpointError(f'the exported model gives NaN or infinity as {name}: keep fp32')
            largest[name] = max(largest.get(name, 0.0), difference)
        ours, theirs = (resize_logits(one['mask_logits'][:, 0], (size, size)) > 0 for one in (found, known))
        changed += int((ours != theirs).sum())
        either += int((ours | theirs).sum())
        pixels += ours.size
    worst = max(largest, key=lambda name: largest[name])
    if exact and largest[worst] > LARGEST:
        raise CheckpointError(
            f'the exported model differs from the original by {largest[worst]:.1e} of the spread of {worst}, more than '
            f'{LARGEST:.0e}: nothing was written'
        )
    return dict(
        inputs=len(inputs),
        against='PyTorch, fp32, CPU',
        largest_difference_over_spread={name: float(f'{value:.3g}') for name, value in largest.items()},
        changed_pixels=float(f'{changed / pixels:.3g}'),
        changed_of_foreground=float(f'{changed / max(either, 1):.3g}'),
    )
