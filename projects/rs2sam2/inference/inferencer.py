"""Segment what an expression means in an image: the Python API, with the habits of mmengine's inferencers.

This file needs no torch: what computes is a subclass, one for models in PyTorch and one for exported ones.
"""

import copy
import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track

from rs2sam2.errors import ConfigError, DataError
from rs2sam2.files import digest
from rs2sam2.inference.ahead import one_ahead
from rs2sam2.inference.arguments import Box, Points, check_batch_size, check_min_score
from rs2sam2.inference.images import ImageSource, InputImage, load_image, pair
from rs2sam2.inference.prediction import Prediction
from rs2sam2.inference.results import SegmentationResult, cut
from rs2sam2.inference.several import SegmentationResults
from rs2sam2.inference.turning import Elements, Turning
from rs2sam2.visualization.overlay import draw_overlay

EXPORTED_SUFFIX = '.onnx'


class PreparedImage(NamedTuple):
    """An image after the part of the pipeline that reads no expression.

    Attributes:
        views: its fields as it is ('identity'), and of each turned copy.
        notes: what to tell the user.
        source: what the user gave: a path, or the image in memory.
    """

    views: dict[str, dict]
    notes: tuple[str, ...]
    source: ImageSource | None = None


class PreparedSample(NamedTuple):
    """One expression of an image, ready for a batch.

    Attributes:
        views: what the model takes, of each copy of the image that the expression can be said of.
        notes: what to tell the user.
        source: what the user gave as the image.
    """

    views: dict[str, dict]
    notes: tuple[str, ...]
    source: ImageSource | None = None


class RefSegInferencer:
    """Segments images by referring expressions, with the model folded for inference.

    What comes is one of two kinds: `TorchInferencer`, or for an exported model (`OUT.onnx` of `rs2sam2 export`)
    `OnnxInferencer`, which needs no torch.

    Args:
        model: the name of a published model, a work dir with its config and best checkpoint, a bundle, a config file
            (see `source.find_model`), or an exported model.
        weights: checkpoint, one of ours or a published file; None takes the work dir's best.
        device: 'cpu', 'cuda:1' ...; None takes a GPU where there is one.
        show_progress: show a progress bar in calls.
        precision: 'auto', 'fp32', 'bf16' or 'fp16'; None takes the config's, which is 'auto' where it says nothing:
            bf16 on a GPU that has it, fp32 elsewhere.
        compile: compile the model; the first batches take a minute or more, later ones less time.
        tta: test-time augmentation: 'all', or names of `rs2sam2.symmetry.SYMMETRIES`. The image is turned, the
            expression with it, and the log-odds of all copies are averaged; one forward a copy.
        identified: whether `identity` will be asked for: the files are then hashed while the model is loaded.

    Attributes:
        source: where the model comes from: its config (`scene`, `tta` ...), and the paths of config and weights.
        model: what computes; it says `input_spec` and `takes_points`.
        precision: what the model computes in: 'fp32', 'bf16' or 'fp16'.
        trained_on: name and kind of the pictures that the model learned from; None where nothing says it.
        turning: the turned copies that are looked at.
        device_name: where it computes: 'cpu', 'cuda:0' ...

    Raises:
        RefSegError: the model cannot be used; one line says why.
    """

    source: Any
    model: Any
    precision: str
    trained_on: str | None
    turning: Turning
    device_name: str
    show_progress: bool
    _hashing: 'Future[dict[str, str]] | None' = None

    def __new__(cls, model: str | Path | None = None, *args: Any, **options: Any) -> 'RefSegInferencer':
        """Choose the kind by the model's name."""
        if cls is RefSegInferencer and model is not None:
            cls = _onnx_inferencer() if is_exported(model) else _torch_inferencer(model)
        return super().__new__(cls)

    def __init__(
        self,
        model: str | Path,
        weights: str | Path | None = None,
        device: str | None = None,
        show_progress: bool = False,
        precision: str | None = None,
        compile: bool = False,
        tta: Elements | None = None,
        identified: bool = False,
    ) -> None:
        raise NotImplementedError

    @property
    def model_name(self) -> str:
        """What people call it: the config's or the exported model's file, a bundle's folder."""
        path = Path(self.source.config_path)
        return path.parent.name if path.suffix == '.json' else path.name

    @property
    def identity(self) -> dict[str, Any]:
        """All that tells its numbers from those of another model, as JSON has it."""
        turned = list(self.turning.elements) if len(self.turning.elements) > 1 else None
        return {**self._digests, 'precision': self.precision, 'tta': turned}

    @functools.cached_property
    def _digests(self) -> dict[str, str]:
        return self._hash_files() if self._hashing is None else self._hashing.result()

    def __call__(
        self,
        inputs: ImageSource | Sequence[ImageSource] | None = None,
        expressions: str | Sequence[str] | None = None,
        *,
        pairs: Iterable[tuple[ImageSource, str]] | None = None,
        box: Box | None = None,
        point: Points | None = None,
        min_score: float | None = None,
        batch_size: int = 1,
    ) -> SegmentationResults:
        """Segment.

        Args:
            inputs: path, folder, pattern such as `scenes/*.png`, (H, W, 3) uint8 RGB array, PIL image, or a list.
            expressions: one for every image, several for one source, or one an image of a list.
            pairs: (image, expression) instead of the two.
            box: (x0, y0, x1, y1) around the target, in pixels of the image; needs a single image.
            point: (x, y) on the target, or several (x, y) and (x, y, 1 on or 0 beside the target).
            min_score: a mask whose score is below it is emptied.
            batch_size: how many expressions the model takes at once.

        Returns:
            A list of one result a pair, images in order, each with its expressions in order.

        Raises:
            RefSegError: an image or an expression cannot be used, or the model cannot be refined by points.
        """
        if (pairs is None) == (inputs is None) or (inputs is None) != (expressions is None):
            raise DataError('give images and expressions, or pairs=')
        batch_size, min_score = check_batch_size(batch_size), check_min_score(min_score)
        given = inputs is not None and expressions is not None
        jobs = pair(inputs, expressions) if given else list(pairs or ())  # type: ignore[arg-type]  # given: none of them is None
        if (box is not None or point is not None) and len({_key(image) for image, _ in jobs}) != 1:
            raise DataError('box and point belong to one image: call once for each image')
        batches: Iterable[list[PreparedSample]] = one_ahead(self.preprocess(jobs, batch_size))
        if self.show_progress:
            batches = track(batches, 'Segmenting', total=-(-len(jobs) // batch_size))
        results = SegmentationResults()
        for batch in batches:
            results += self.postprocess(self.forward(batch, box, point), batch, min_score)
        return results

    def preprocess(self, jobs: Iterable[tuple[ImageSource, str]], batch_size: int) -> Iterator[list[PreparedSample]]:
        """Read, prepare and batch; an image is read once for expressions that follow each other."""
        batch, last, image = [], None, None
        for number, (source, expression) in enumerate(jobs):
            if image is None or _key(source) != last:
                image, last = self.prepare_image(load_image(source, f'image {number}')), _key(source)
            batch.append(self.prepare(image, expression))
            if len(batch) == batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def prepare_image(self, image: InputImage) -> PreparedImage:
        """Run the part of the pipeline that reads no expression."""
        views = {
            name: self._image_fields(dict(img=pixels, img_path=image.name, ori_shape=pixels.shape[:2], turned_by=name))
            for name, pixels in self.turning.images(image.pixels).items()
        }
        return PreparedImage(views, image.notes, image.source)

    def prepare(self, image: PreparedImage, expression: str) -> PreparedSample:
        """Run the rest of the pipeline for one expression.

        Raises:
            TokenizerError: the expression is empty, or too long for the model.
        """
        said, _ = self.turning.sentences(expression)
        sample_id = repr(cut(expression))
        views = {
            name: self._view({**image.views[name], 'sample_id': sample_id, 'expression': text})
            for name, text in said.items()
        }
        return PreparedSample(views, (*image.notes, *self.expression_notes(expression)), image.source)

    def expression_notes(self, expression: str) -> tuple[str, ...]:
        """What the user should know of how an expression is read: copies that it is not said of, an end that is cut."""
        cut_off = self._cut_note(expression)
        return (*self.turning.sentences(expression)[1], *([cut_off] if cut_off else []))

    def forward(
        self, batch: Sequence[PreparedSample], box: Box | None = None, point: Points | None = None
    ) -> list[Prediction]:
        """Run the model on a batch; `box` and `point` in pixels of the (one) original image."""
        prompts = self._prompts(batch[0].views['identity'], box, point)
        copies: list[list] = [[] for _ in batch]
        for name in self.turning.elements:
            members = [i for i, sample in enumerate(batch) if name in sample.views]
            if members:
                found = self._predict([batch[i].views[name] for i in members], prompts, name)
                for i, sample in zip(members, found, strict=True):
                    copies[i].append(sample)
        names = [tuple(name for name in self.turning.elements if name in sample.views) for sample in batch]
        return [self._averaged(*pair) for pair in zip(copies, names, strict=True)]

    def postprocess(
        self, preds: Sequence[Prediction], batch: Sequence[PreparedSample], min_score: float | None = None
    ) -> list[SegmentationResult]:
        """Typed results of a batch."""
        return [
            SegmentationResult.from_prediction(pred, min_score, sample.notes, sample.source)
            for pred, sample in zip(preds, batch, strict=True)
        ]

    def visualize(self, inputs: Sequence[ImageSource], preds: Sequence[SegmentationResult]) -> list[np.ndarray]:
        """Draw the masks over their images, (H, W, 3) uint8 each."""
        return [
            draw_overlay(load_image(image).pixels, result.mask) for image, result in zip(inputs, preds, strict=True)
        ]

    def with_tta(self, tta: Elements | None) -> 'RefSegInferencer':
        """The same model with another test-time augmentation; the weights are shared."""
        other = copy.copy(self)
        other.turning = Turning.of(tta, self.source.config)
        return other

    def _hash_files(self) -> dict[str, str]:
        return {'weights': digest(Path(self.source.weights)), 'config': digest(Path(self.source.config_path))}

    def _image_fields(self, fields: dict) -> dict:
        """The image's part of the pipeline."""
        raise NotImplementedError

    def _cut_note(self, expression: str) -> str | None:
        """A note where the model reads the beginning of an expression only."""
        return None

    def _view(self, fields: dict) -> dict:
        """The expression's part of the pipeline; refuses what is too long for the model."""
        raise NotImplementedError

    def _prompts(self, view: dict, box: Box | None, point: Points | None) -> Any:
        """Clicks and boxes as the model takes them; None without."""
        raise NotImplementedError

    def _predict(self, views: Sequence[dict], prompts: Any, element: str) -> list:
        """One forward; `prompts` are of the image as it is, the views of the copy that `element` turned."""
        raise NotImplementedError

    def _averaged(self, copies: list, elements: tuple[str, ...]) -> Prediction:
        """One prediction of those of a sample and its turned copies."""
        raise NotImplementedError


def is_exported(model: str | Path) -> bool:
    """Whether a model's name is that of a file which `rs2sam2 export` writes."""
    return str(model).lower().endswith(EXPORTED_SUFFIX)


def _onnx_inferencer() -> type[RefSegInferencer]:
    from rs2sam2.inference.onnx_inferencer import OnnxInferencer

    return OnnxInferencer


def _torch_inferencer(model: str | Path) -> type[RefSegInferencer]:
    try:
        from rs2sam2.inference.torch_inferencer import TorchInferencer
    except ModuleNotFoundError as error:
        if error.name not in ('torch', 'mmengine', 'mmcv', 'mmseg'):
            raise
        raise ConfigError(
            f'{model} needs {error.name}, which is not installed here: install rs2sam2 with all it needs, or export '
            'the model where it is (rs2sam2 export MODEL OUT.onnx) and name that file'
        ) from error
    return TorchInferencer


def _key(source: ImageSource) -> object:
    """Equal for the same file or the same object in memory."""
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else id(source)


def trained_on_note(trained_on: str | None) -> str:
    """What a user should know of `RefSegInferencer.trained_on` beside a model's results."""
    if trained_on is None:
        return 'nothing says what this model was trained on'
    return f'this model was trained on {trained_on}; on pictures of another kind its masks mean little'
