"""Segment what an expression means in an image: the Python API, with the habits of mmengine's inferencers."""

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.infer.infer import BaseInferencer
from mmseg.registry import MODELS, TRANSFORMS
from PIL import Image
from rich.progress import track

from rs2sam2.datasets.transforms.turning import LOADERS
from rs2sam2.errors import ConfigError, DataError
from rs2sam2.inference.ahead import one_ahead
from rs2sam2.inference.arguments import check_batch_size, check_min_score
from rs2sam2.inference.images import ImageSource, InputImage, load_image, pair
from rs2sam2.inference.points import Box, Points, point_prompts, turn_prompts
from rs2sam2.inference.results import SegmentationResult
from rs2sam2.inference.source import find_model, test_pipeline
from rs2sam2.inference.training_data import training_data
from rs2sam2.inference.turning import Elements, Turning
from rs2sam2.models.averaging import average_turned
from rs2sam2.models.common.precision import choose_precision
from rs2sam2.models.protocol import ReferringSegmentor
from rs2sam2.structures import PointPrompts, RefSegDataSample
from rs2sam2.visualization.overlay import FOUND, draw_regions
from rs2sam2.weights.building import build_filled
from rs2sam2.weights.files import open_state_dict

OVERLAY_SIDE = 2048


class PreparedImage(NamedTuple):
    """An image after the part of the pipeline that reads no expression.

    Attributes:
        views: its fields as it is ('identity'), and of each turned copy.
        notes: what to tell the user.
    """

    views: dict[str, dict]
    notes: tuple[str, ...]


class PreparedSample(NamedTuple):
    """One expression of an image, ready for a batch.

    Attributes:
        views: the pipeline's `inputs` and `data_samples`, of each copy of the image that the expression can be said of.
        notes: what to tell the user.
    """

    views: dict[str, dict]
    notes: tuple[str, ...]


class RefSegInferencer(BaseInferencer):
    """Segments images by referring expressions, with the model folded for inference.

    Args:
        model: a config file, or a work dir with its config and best checkpoint (see `source.find_model`).
        weights: checkpoint, one of ours or a published file; None takes the work dir's best.
        device: 'cpu', 'cuda:1' ...; None takes a GPU where there is one.
        show_progress: show a progress bar in calls.
        precision: 'auto', 'fp32', 'bf16' or 'fp16'; None takes the config's, which is 'auto' where it says nothing:
            bf16 on a GPU that has it, fp32 elsewhere.
        compile: compile the model; the first batches take a minute or more, later ones less time.
        tta: test-time augmentation: 'all', or names of `rs2sam2.symmetry.SYMMETRIES`. The image is turned, the
            expression with it, and the log-odds of all copies are averaged; one forward a copy.

    Attributes:
        precision: what the model computes in: 'fp32', 'bf16' or 'fp16'.
        trained_on: name and kind of the pictures that the model learned from; None where nothing says it.

    Raises:
        RefSegError: the model cannot be used; one line says why.
    """

    def __init__(
        self,
        model: str | Path,
        weights: str | Path | None = None,
        device: str | None = None,
        show_progress: bool = False,
        precision: str | None = None,
        compile: bool = False,
        tta: Elements | None = None,
    ) -> None:
        choose_precision(precision or 'auto', torch.device('cpu'))
        self.precision, self.compiled = precision, compile
        self.source = find_model(model, weights)
        self.turning = Turning.of(tta, self.source.config)
        super().__init__(self.source.config, str(self.source.weights), device, 'mmseg', show_progress)

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
    ) -> list[SegmentationResult]:
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
            One result a pair, images in order, each with its expressions in order.

        Raises:
            RefSegError: an image or an expression cannot be used, or the model cannot be refined by points.
        """
        if (pairs is None) == (inputs is None) or (inputs is None) != (expressions is None):
            raise DataError('give images and expressions, or pairs=')
        batch_size, min_score = check_batch_size(batch_size), check_min_score(min_score)
        jobs = pair(inputs, expressions) if pairs is None else list(pairs)
        if (box is not None or point is not None) and len({_key(image) for image, _ in jobs}) != 1:
            raise DataError('box and point belong to one image: call once for each image')
        batches = one_ahead(self.preprocess(jobs, batch_size))
        if self.show_progress:
            batches = track(batches, 'Segmenting', total=-(-len(jobs) // batch_size))
        results = []
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
            name: self.pipeline.image(dict(img=pixels, img_path=image.name, ori_shape=pixels.shape[:2], turned_by=name))
            for name, pixels in self.turning.images(image.pixels).items()
        }
        return PreparedImage(views, image.notes)

    def prepare(self, image: PreparedImage, expression: str) -> PreparedSample:
        """Run the rest of the pipeline for one expression.

        Raises:
            TokenizerError: the expression is empty, or too long for the model.
        """
        said, notes = self.turning.sentences(expression)
        sample_id, views = repr(_short(expression)), {}
        for name, text in said.items():
            data = self.pipeline.expression({**image.views[name], 'sample_id': sample_id, 'expression': text})
            # In a batch, one expression that is too long would take the others with it.
            self.model.data_preprocessor.pad([data['inputs'].token_ids], [data['data_samples']])
            views[name] = data
        return PreparedSample(views, (*image.notes, *notes))

    def forward(
        self, batch: Sequence[PreparedSample], box: Box | None = None, point: Points | None = None
    ) -> list[RefSegDataSample]:
        """Run the model on a batch; `box` and `point` in pixels of the (one) original image."""
        first = batch[0].views['identity']
        view = first['inputs'].image.shape[-2:]
        points = point_prompts(box, point, first['data_samples'].ori_shape, view)
        copies: list[list[RefSegDataSample]] = [[] for _ in batch]
        for name in self.turning.elements:
            members = [i for i, sample in enumerate(batch) if name in sample.views]
            if members:
                found = self._predict([batch[i].views[name] for i in members], turn_prompts(points, name, view))
                for i, sample in zip(members, found, strict=True):
                    copies[i].append(sample)
        names = [tuple(name for name in self.turning.elements if name in sample.views) for sample in batch]
        return [average_turned(*pair) for pair in zip(copies, names, strict=True)]

    @torch.inference_mode()
    def _predict(self, views: Sequence[dict], points: PointPrompts | None) -> list[RefSegDataSample]:
        """One forward; `points` in pixels of SAM2's view."""
        try:
            data = self.model.data_preprocessor(self.collate_fn(views), False)
            if points is not None:
                device, count = data['inputs'].image.device, len(views)
                points = PointPrompts(*(field.to(device).expand(count, *field.shape[1:]) for field in points))
            return self.model.predict(**data, points=points)
        except torch.OutOfMemoryError:
            raise ConfigError(f'a batch of {len(views)} does not fit into the GPU: use a smaller batch size') from None

    def with_tta(self, tta: Elements | None) -> 'RefSegInferencer':
        """The same model with another test-time augmentation; the weights are shared."""
        other = copy.copy(self)
        other.turning = Turning.of(tta, self.source.config)
        return other

    def postprocess(
        self, preds: Sequence[RefSegDataSample], batch: Sequence[PreparedSample], min_score: float | None = None
    ) -> list[SegmentationResult]:
        """Typed results of a batch."""
        return [
            SegmentationResult.from_data_sample(pred, min_score, sample.notes)
            for pred, sample in zip(preds, batch, strict=True)
        ]

    def visualize(self, inputs: Sequence[ImageSource], preds: Sequence[SegmentationResult]) -> list[np.ndarray]:
        """Draw the masks over their images, (H, W, 3) uint8 each."""
        return [
            draw_overlay(load_image(image).pixels, result.mask) for image, result in zip(inputs, preds, strict=True)
        ]

    def _init_model(self, cfg: Config, weights: str, device: str) -> torch.nn.Module:
        kind = cfg.model.type
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        if not isinstance(kind, type) or not issubclass(kind, ReferringSegmentor):
            raise ConfigError(f'{self.source.config_path}: model type {cfg.model.type} segments no expressions')
        try:
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError) as error:
            line = str(error).strip().splitlines()[0]
            raise ConfigError(f'device={device!r} cannot be used ({line}): use cpu, or another one') from error
        try:
            model = build_filled(cfg.model, Path(weights), device).fold()
        except (TypeError, ValueError, KeyError, AttributeError, AssertionError, RuntimeError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(f'{self.source.config_path}: the model cannot be built ({reason})') from error
        self.trained_on = training_data(cfg, open_state_dict(weights).content.get('meta'))
        model.precision = self.precision or model.precision
        self.precision = choose_precision(model.precision, torch.device(device))
        if self.compiled:
            model.encode_decode = torch.compile(model.encode_decode)
        return model

    def _init_pipeline(self, cfg: Config) -> 'SplitPipeline':
        return SplitPipeline(test_pipeline(cfg))

    def _init_collate(self, cfg: Config) -> object:
        return pseudo_collate

    def _init_visualizer(self, cfg: Config) -> None:
        """Nothing: overlays need no vis backend."""


class SplitPipeline:
    """The test pipeline in two parts, so that an image is resized once for all its expressions.

    The steps that read files and ground truth are left out.

    Args:
        steps: configs of the transforms; the second part begins with the one that has a tokenizer.

    Raises:
        ConfigError: no step has a tokenizer.
    """

    def __init__(self, steps: Sequence[dict]) -> None:
        steps = [step for step in steps if step['type'] not in LOADERS]
        start = next((i for i, step in enumerate(steps) if 'tokenizer' in step), None)
        if start is None:
            raise ConfigError('the test pipeline of the config has no step with a tokenizer (TokenizeExpression)')
        self.image = Compose([TRANSFORMS.build(step) for step in steps[:start]])
        self.expression = Compose([TRANSFORMS.build(step) for step in steps[start:]])


def draw_overlay(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Tint and outline a mask (H, W) bool over an image (H, W, 3) uint8; the longer side is at most 2,048 pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((OVERLAY_SIDE, OVERLAY_SIDE))
    return np.asarray(draw_regions(picture, [(mask, FOUND)]))


def _key(source: ImageSource) -> object:
    """Equal for the same file or the same object in memory."""
    return os.fspath(source) if isinstance(source, (str, os.PathLike)) else id(source)


def _short(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[:length] + '…'
