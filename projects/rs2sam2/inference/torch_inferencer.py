"""The inferencer of models in PyTorch, built from a config and a checkpoint."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.infer.infer import BaseInferencer
from mmseg.registry import MODELS, TRANSFORMS

from rs2sam2.datasets.transforms.tokenize import TokenizeExpression
from rs2sam2.datasets.transforms.turning import LOADERS
from rs2sam2.errors import ConfigError
from rs2sam2.inference.ahead import in_background
from rs2sam2.inference.arguments import Box, Points
from rs2sam2.inference.inferencer import RefSegInferencer
from rs2sam2.inference.points import point_prompts, turn_prompts
from rs2sam2.inference.prediction import Prediction
from rs2sam2.inference.source import find_model, test_pipeline
from rs2sam2.inference.training_data import training_data
from rs2sam2.inference.turning import Elements, Turning
from rs2sam2.models.averaging import average_turned
from rs2sam2.models.common.precision import choose_precision
from rs2sam2.models.protocol import ReferringSegmentor
from rs2sam2.structures import PointPrompts, ReferringSample, RefSegDataSample
from rs2sam2.weights.building import build_filled
from rs2sam2.weights.files import open_state_dict

# What Python, torch and the parts themselves raise where a config does not describe what can be built.
_NOT_BUILT = (
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    AssertionError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
)


class TorchInferencer(RefSegInferencer, BaseInferencer):
    """Runs a model in PyTorch; see `RefSegInferencer` for arguments and attributes."""

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
        choose_precision(precision or 'auto', torch.device('cpu'))
        self.asked_precision, self.compiled = precision, compile
        self.source = find_model(model, weights)
        if identified:
            self._hashing = in_background(self._hash_files)
        self.turning = Turning.of(tta, self.source.config)
        BaseInferencer.__init__(self, self.source.config, str(self.source.weights), device, 'mmseg', show_progress)

    def _image_fields(self, fields: dict) -> dict:
        return self.pipeline.image(fields)

    def _cut_note(self, expression: str) -> str | None:
        return self.pipeline.cut_note(expression)

    def _view(self, fields: dict) -> dict:
        data = self.pipeline.expression(fields)
        # In a batch, one expression that is too long would take the others with it.
        self.model.data_preprocessor.pad([data['inputs'].token_ids], [data['data_samples']])
        return data

    def _prompts(self, view: dict, box: Box | None, point: Points | None) -> PointPrompts | None:
        return point_prompts(box, point, view['data_samples'].ori_shape, view['inputs'].image.shape[-2:])

    @torch.inference_mode()
    def _predict(self, views: Sequence[dict], prompts: PointPrompts | None, element: str) -> list[RefSegDataSample]:
        try:
            points = turn_prompts(prompts, element, views[0]['inputs'].image.shape[-2:])
            data = self.model.data_preprocessor(self.collate_fn(views), False)
            if points is not None:
                device, count = data['inputs'].image.device, len(views)
                points = PointPrompts(*(field.to(device).expand(count, *field.shape[1:]) for field in points))
            return self.model.predict(**data, points=points)
        except torch.OutOfMemoryError:
            raise ConfigError(f'a batch of {len(views)} does not fit into the GPU: use a smaller batch size') from None

    def _averaged(self, copies: list[RefSegDataSample], elements: tuple[str, ...]) -> Prediction:
        sample = average_turned(copies, elements)
        pseudo = sample.get('pseudo_mask')
        return Prediction(
            image=sample.img_path,
            expression=sample.expression,
            logits=sample.seg_logits.data[0].float().cpu().numpy(),
            mask=sample.pred_sem_seg.data[0].bool().cpu().numpy(),
            pseudo_mask=None if pseudo is None else pseudo.data[0].cpu().numpy(),
            predicted_iou=sample.pred_iou,
            presence=sample.presence,
            precision=sample.precision,
            averaged_over=sample.averaged_over,
        )

    def _init_model(self, cfg: Config, weights: str, device: str) -> torch.nn.Module:
        kind = cfg.model.type
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        if not isinstance(kind, type) or not issubclass(kind, ReferringSegmentor):
            raise ConfigError(f'{self.source.config_path}: model type {cfg.model.type} segments no expressions')
        try:
            torch.empty(1, device=device).item()  # of meta, which keeps no numbers, nothing can be read
        except (RuntimeError, AssertionError) as error:
            line = str(error).strip().splitlines()[0]
            raise ConfigError(f'device={device!r} cannot be used ({line}): use cpu, or another one') from error
        try:
            file = open_state_dict(weights)
            model = build_filled(cfg.model, file, device, fold=True)
        except _NOT_BUILT as error:
            raise self._unusable('the model cannot be built', error) from error
        self.trained_on = training_data(cfg, file.content.get('meta'))
        model.precision = self.asked_precision or model.precision
        self.precision = choose_precision(model.precision, torch.device(device))
        self.device_name = str(next(model.parameters()).device)
        if self.compiled:
            model.encode_decode = torch.compile(model.encode_decode)
        return model

    def _init_pipeline(self, cfg: Config) -> 'SplitPipeline':
        try:
            pipeline = SplitPipeline(test_pipeline(cfg))
            made = pipeline.attempt()
        except (*_NOT_BUILT, ConfigError) as error:
            raise self._unusable('the test pipeline makes no input for the model', error) from error
        wanted, view = self.model.input_spec.union_size, made.union_image
        if wanted is not None and (view is None or view.shape[-1] != wanted):
            got = 'none' if view is None else f'one of {view.shape[-1]}'
            raise ConfigError(
                f'{self.source.config_path}: the union encoder takes a view of {wanted} pixels, and the test pipeline '
                f'makes {got}'
            )
        return pipeline

    def _unusable(self, what: str, error: Exception) -> ConfigError:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        kind = '' if isinstance(error, ConfigError) else f'{type(error).__name__}: '
        return ConfigError(f'{self.source.config_path}: {what} ({kind}{reason})')

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

    def attempt(self) -> ReferringSample:
        """What it makes of a small black image, for whatever reasons a pipeline cannot."""
        image = np.zeros((32, 32, 3), np.uint8)
        fields = self.image(dict(img=image, img_path='a try', ori_shape=image.shape[:2]))
        made = self.expression({**fields, 'sample_id': 'a try', 'expression': 'ship'})
        return made['inputs']

    def cut_note(self, expression: str) -> str | None:
        """What the tokenizing step says where it cuts; a step of one's own may say nothing."""
        step = self.expression.transforms[0]
        return step.cut_note(expression) if isinstance(step, TokenizeExpression) else None
