"""The inferencer of exported models: onnxruntime instead of PyTorch, the same images, sentences and results."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rs2sam2.datasets.images import square_view
from rs2sam2.errors import CheckpointError, ConfigError, TokenizerError
from rs2sam2.files import digest, require_regular
from rs2sam2.inference.ahead import in_background
from rs2sam2.inference.arguments import Box, Points
from rs2sam2.inference.exported import KEY, OUTPUTS, Exported, InputSizes, data_of
from rs2sam2.inference.inferencer import RefSegInferencer
from rs2sam2.inference.prediction import Prediction, resize_logits
from rs2sam2.inference.turning import Elements, Turning
from rs2sam2.symmetry import SYMMETRIES
from rs2sam2.text.tokenizer import cut_tokens


class ExportedSource(NamedTuple):
    """Where an exported model comes from; see `source.ModelSource`.

    Attributes:
        config: `scene` and `tta` of the model's config.
        config_path: the file.
        weights: the file.
    """

    config: Mapping[str, Any]
    config_path: Path
    weights: Path


class ExportedModel(NamedTuple):
    """What is asked of a model beside its predictions; see `rs2sam2.models.protocol`.

    Attributes:
        input_spec: sizes of what it takes.
        takes_points: an exported graph takes none.
    """

    input_spec: InputSizes
    takes_points: bool = False


class OnnxInferencer(RefSegInferencer):
    """Runs an exported model; see `RefSegInferencer` for arguments and attributes.

    It has one precision, its own, and takes no clicks and boxes. `OMP_NUM_THREADS` says how many threads it uses.

    Attributes:
        exported: what the file says of itself, `check` among it: how near it is to PyTorch.
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
        identified: bool = False,
    ) -> None:
        path = Path(model)
        if weights is not None or compile:
            raise ConfigError(f'{path} holds its weights and is compiled: leave out --weights and --compile')
        if identified:
            self._hashing = in_background(partial(_hash_files, path))
        self.session, self.device_name = open_session(path, device)
        known = self.session.get_modelmeta().custom_metadata_map.get(KEY)
        self.exported = Exported.read(known, str(path))
        if precision not in (None, 'auto', self.exported.precision):
            raise ConfigError(f'{path} was exported in {self.exported.precision}: leave out --precision {precision}')
        self.precision = self.exported.precision
        self.trained_on = self.exported.trained_on
        self.source = ExportedSource({'scene': self.exported.scene, 'tta': self.exported.tta}, path, path)
        self.model = ExportedModel(self.exported.sizes)
        self.show_progress = show_progress
        self.turning = Turning.of(tta, self.source.config)
        self._tokenizer = self.exported.make_tokenizer(str(path))
        self._inputs = {one.name for one in self.session.get_inputs()}
        self._outputs = [one.name for one in self.session.get_outputs()]
        if self._outputs[0] != OUTPUTS[0] or not set(self._outputs) <= set(OUTPUTS):
            raise CheckpointError(f'{path} gives {", ".join(self._outputs)}: it was not written by rs2sam2 export')

    def _hash_files(self) -> dict[str, str]:
        return _hash_files(Path(self.source.weights))

    def _image_fields(self, fields: dict) -> dict:
        pixels, sizes = fields.pop('img'), self.exported.sizes
        fields['image'] = _channels_first(square_view(pixels, sizes.image_size))
        if sizes.union_size is not None:
            fields['union_image'] = _channels_first(square_view(pixels, sizes.union_size))
        return fields

    def _view(self, fields: dict) -> dict:
        text, sizes = fields['expression'], self.exported.sizes
        try:
            ids = self._tokenizer(text)
        except TokenizerError as error:
            raise TokenizerError(f'sample {fields["sample_id"]}: {error}') from error
        ids = cut_tokens(ids, self.exported.max_length, self.exported.keep_last)
        if len(ids) > sizes.max_text_length:
            raise TokenizerError(
                f'the expression {fields["sample_id"]} has {len(ids)} tokens, the model has room for '
                f'{sizes.max_text_length}: shorten it'
            )
        if max(ids) >= sizes.vocab_size:
            raise TokenizerError(f'a token id of {fields["sample_id"]} lies outside the table of the model')
        return {**fields, 'token_ids': ids}

    def _prompts(self, view: dict, box: Box | None, point: Points | None) -> None:
        if box is not None or point is not None:
            raise ConfigError(
                f'{self.source.weights} is an exported model, which takes no points and boxes: refine with the model '
                'that it was exported from'
            )

    def _predict(self, views: Sequence[dict], prompts: None, element: str) -> list[Prediction]:
        feeds = feeds_of(views, self.exported.pad_id)
        try:
            found = self.session.run(None, {name: feeds[name] for name in self._inputs})
        except Exception as error:  # of onnxruntime, whose errors have no common kind
            line = str(error).strip().splitlines()[0][:300]
            raise ConfigError(f'{self.source.weights} failed on a batch of {len(views)} ({line})') from error
        values = dict.fromkeys(OUTPUTS) | dict(zip(self._outputs, found, strict=True))
        return [self._prediction(view, {name: _at(value, i) for name, value in values.items()})
                for i, view in enumerate(views)]  # fmt: skip

    def _prediction(self, view: dict, values: dict[str, Any]) -> Prediction:
        logits, pseudo = values['mask_logits'][0], values['pseudo_mask']
        return Prediction(
            image=view['img_path'],
            expression=view['expression'],
            logits=logits,
            mask=resize_logits(logits, view['ori_shape']) > 0,
            pseudo_mask=None if pseudo is None else pseudo[0],
            predicted_iou=_number(values['predicted_iou']),
            presence=_number(values['presence']),
            precision=self.precision,
        )

    def _averaged(self, copies: list[Prediction], elements: tuple[str, ...]) -> Prediction:
        first = copies[0]
        if len(copies) == 1:
            return first
        backs = [SYMMETRIES[element].inverse for element in elements]
        logits = np.mean([back.apply(one.logits) for back, one in zip(backs, copies, strict=True)], axis=0)
        pseudo = first.pseudo_mask
        if pseudo is not None:
            masks: list = [back.apply(one.pseudo_mask) for back, one in zip(backs, copies, strict=True)]
            pseudo = np.mean(masks, axis=0)
        return first._replace(
            logits=logits,
            mask=resize_logits(logits, first.mask.shape) > 0,
            pseudo_mask=pseudo,
            predicted_iou=_mean([one.predicted_iou for one in copies]),
            presence=_mean([one.presence for one in copies]),
            averaged_over=elements,
        )


def feeds_of(views: Sequence[Mapping[str, Any]], pad_id: int) -> dict[str, np.ndarray]:
    """The graph's inputs of a batch: views stacked, token ids padded to the longest."""
    length = max(len(view['token_ids']) for view in views)
    token_ids = np.full((len(views), length), pad_id, np.int64)
    text_mask = np.zeros((len(views), length), bool)
    for row, view in enumerate(views):
        count = len(view['token_ids'])
        token_ids[row, :count] = view['token_ids']
        text_mask[row, :count] = True
    images = {name: np.stack([view[name] for view in views]) for name in ('image', 'union_image') if name in views[0]}
    return dict(images, token_ids=token_ids, text_mask=text_mask)


def open_session(path: Path, device: str | None) -> tuple[Any, str]:
    """An onnxruntime session, and the name of the device that it runs on.

    Args:
        path: of the exported model.
        device: 'cpu', 'cuda' or 'cuda:1' ...; None takes a GPU where onnxruntime can use one.

    Raises:
        ConfigError: onnxruntime is not installed, or the device cannot be used.
        CheckpointError: the file cannot be read.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ConfigError(f'{path} needs onnxruntime, not installed here; run: pip install "rs2sam2[onnx]"') from error
    has_gpu = 'CUDAExecutionProvider' in onnxruntime.get_available_providers()
    device = device or ('cuda:0' if has_gpu else 'cpu')
    kind, _, number = device.partition(':')
    if kind not in ('cpu', 'cuda') or (kind == 'cuda' and not has_gpu) or (number and not number.isdigit()):
        raise ConfigError(f'device={device!r} cannot be used by this onnxruntime: use cpu, or install onnxruntime-gpu')
    gpu = [('CUDAExecutionProvider', {'device_id': int(number or 0)})] if kind == 'cuda' else []
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    threads = os.environ.get('OMP_NUM_THREADS', '')
    options.intra_op_num_threads = int(threads) if threads.isdigit() else 0
    try:
        require_regular(path, 'give the path of an exported model', CheckpointError)
        session = onnxruntime.InferenceSession(path, options, providers=[*gpu, 'CPUExecutionProvider'])
    except FileNotFoundError as error:
        raise CheckpointError(f'{path} is missing: rs2sam2 export MODEL {path} writes it') from error
    except CheckpointError:
        raise
    except Exception as error:  # of onnxruntime, whose errors have no common kind
        line = str(error).strip().splitlines()[0][:300]
        raise CheckpointError(
            f'{path} cannot be run ({line}): export it again, with its .data file beside it'
        ) from error
    return session, device


def _hash_files(path: Path) -> dict[str, str]:
    graph, weights = digest(path), data_of(path)
    # The weights of a large model lie beside its graph.
    return {'weights': digest(weights) if weights.exists() else graph, 'config': graph}


def _channels_first(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _at(value: np.ndarray | None, row: int) -> np.ndarray | None:
    return None if value is None else value[row]


def _number(value: np.ndarray | None) -> float | None:
    return None if value is None else float(value)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
