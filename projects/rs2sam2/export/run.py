"""`rs2sam2 export`: a model as one file that other runtimes take, whole and checked or not at all."""

import base64
import gc
import os
import shutil
import warnings
from collections.abc import Callable, Mapping
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rs2sam2.errors import ConfigError, OutputError
from rs2sam2.export.check import Feeds, compare, example_batches, feeds_of_views
from rs2sam2.export.graph import ExportedGraph, compute, trace
from rs2sam2.inference.exported import INPUTS, KEY, TOKENIZERS, Exported, InputSizes, data_of
from rs2sam2.inference.onnx_inferencer import open_session
from rs2sam2.inference.source import test_pipeline
from rs2sam2.inference.torch_inferencer import TorchInferencer

FORMATS = {'onnx': '.onnx', 'torch': '.pt2'}
DTYPES = ('fp32', 'fp16', 'int8')
# Steps of a test pipeline that the inferencer of exported models does, and those that read a data set's files.
_STEPS = ('ResizeView', 'ResizeTwoViews', 'TokenizeExpression', 'PackRefSegInputs')
_READERS = ('LoadRGBImage', 'LoadReferringMask')
_TOKENIZER_FILES = ('.json', '.txt', '.model', '.spm')
_NOT_OF_TOKENIZERS = ('model.safetensors.index.json', 'bundle.json', 'README.txt')
_MOST = 64 * 2**20
# A message of protobuf has at most 2 GiB: beyond that the weights lie in a file beside it.
_INSIDE = 2**31 - 2**24


def export_model(
    model: str | Path, out: Path, format: str = 'onnx', weights: str | Path | None = None, dtype: str = 'fp32'
) -> Exported:
    """Export a model and check it.

    Args:
        model: as `RefSegInferencer` takes it.
        out: file to make, `.onnx` or `.pt2`; weights of more than 2 GB lie beside it in `OUT.data`.
        format: 'onnx', or 'torch' for a program of torch.export.
        weights: checkpoint; None takes the model's own.
        dtype: what the weights are stored in: 'fp32', and for ONNX 'fp16' or 'int8'; the model computes in fp32.

    Returns:
        What the file says of itself.

    Raises:
        RefSegError: it cannot be exported, differs from the original, or cannot be written; nothing is left then.
    """
    _check_arguments(out, format, dtype)
    inferencer = TorchInferencer(model, weights, 'cpu', precision='fp32')
    exported = _describe(inferencer, dtype)
    batches = list(example_batches(inferencer))
    inputs = [feeds_of_views(views, (batch.token_ids, batch.text_mask)) for views, batch in batches]
    expected = [compute(inferencer.model, batch) for _, batch in batches]
    graph = ExportedGraph(inferencer.model, tuple(expected[0]))
    example = {name: torch.from_numpy(array) for name, array in inputs[-1].items()}
    del batches
    folder = out.parent / f'.{out.name}.{os.getpid()}.unfinished'
    try:
        folder.mkdir(parents=True)
        try:
            program = trace(graph, example)
        except Exception as error:  # of torch.export, whose errors have no common kind
            line = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise ConfigError(f'{model} cannot be exported: torch.export does not follow it ({line})') from error
        names = graph.names
        # Written and let go of before it is run: a large model is in memory once at a time.
        writer = _write_onnx if format == 'onnx' else _write_torch
        write = writer(program, folder / out.name, names, dtype)
        size = exported.sizes.image_size
        del inferencer, graph, program, writer
        gc.collect()
        run = (_onnx_runner if format == 'onnx' else _torch_runner)(folder / out.name, names)
        check = compare(run, inputs, expected, dtype == 'fp32', size)
        exported = Exported(**{**vars(exported), 'check': check})
        del run
        write(exported.text())
        for part in sorted(folder.iterdir(), key=lambda path: path.name == out.name):
            os.replace(part, out.parent / part.name)
    except OSError as error:
        raise OutputError(f'{out} cannot be written ({error.strerror or error}): mend that') from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return exported


def _check_arguments(out: Path, format: str, dtype: str) -> None:
    if format not in FORMATS:
        raise ConfigError(f'--format {format}: one of {", ".join(FORMATS)}')
    if out.suffix.lower() != FORMATS[format]:
        raise ConfigError(f'{out}: a model of --format {format} is named *{FORMATS[format]}')
    if dtype not in DTYPES:
        raise ConfigError(f'--dtype {dtype}: one of {", ".join(DTYPES)}')
    if format == 'torch' and dtype != 'fp32':
        raise ConfigError(f'--dtype {dtype} is for --format onnx: a program of torch.export keeps fp32')
    for path in (out, data_of(out)):
        try:
            is_there = path.exists()
        except OSError as error:  # such as a name that is too long
            raise OutputError(f'{path} cannot be written ({error.strerror}): name another file') from error
        if is_there:
            raise OutputError(f'{path} is there already: remove it, or name a new file')
    missing = [name for name in ('onnx', 'onnxscript', 'onnxruntime') if find_spec(name) is None]
    if format == 'onnx' and missing:
        raise ConfigError(f'this needs {", ".join(missing)}, not installed here; run: pip install "rs2sam2[onnx]"')


def _describe(inferencer: TorchInferencer, dtype: str) -> Exported:
    """What the inferencer of the exported model needs to know."""
    model, config = inferencer.model, inferencer.source.config
    steps = [dict(step) for step in test_pipeline(config) if step['type'] not in _READERS]
    if unknown := [step['type'] for step in steps if step['type'] not in _STEPS]:
        raise ConfigError(f'the test pipeline has {", ".join(unknown)}, which an exported model cannot do')
    by_type = {step['type']: step for step in steps}
    views = by_type.get('ResizeTwoViews') or by_type.get('ResizeView') or {}
    sizes = InputSizes(*model.input_spec)
    stated = (views.get('size', 1024), views.get('union_size', 224) if 'ResizeTwoViews' in by_type else None)
    if stated != sizes[:2]:
        raise ConfigError(f'the test pipeline makes views of {stated} pixels, the model takes {sizes[:2]}')
    text = by_type['TokenizeExpression']
    return Exported(
        sizes=sizes,
        pad_id=model.data_preprocessor.pad_id,
        tokenizer=_tokenizer(dict(text['tokenizer'])),
        max_length=text.get('max_length'),
        keep_last=text.get('keep_last', True),
        precision=dtype,
        trained_on=inferencer.trained_on,
        scene=_plain(config.get('scene')),
        tta=_plain(config.get('tta')),
        made={'rs2sam2': version('rs2sam2'), 'torch': torch.__version__, 'date': date.today().isoformat()},
    )


def _plain(part: Any) -> dict[str, Any]:
    return {} if part is None else dict(part.to_dict() if hasattr(part, 'to_dict') else part)


def _tokenizer(config: dict[str, Any]) -> dict[str, Any]:
    kind, path = config.pop('type'), Path(config.pop('path'))
    if kind not in TOKENIZERS:
        raise ConfigError(f'the tokenizer {kind} cannot travel in a file: one of {", ".join(TOKENIZERS)} can')
    files = [path] if path.is_file() else sorted(one for one in path.iterdir() if one.suffix in _TOKENIZER_FILES)
    files = [one for one in files if one.name not in _NOT_OF_TOKENIZERS]
    if (size := sum(one.stat().st_size for one in files)) > _MOST:
        raise ConfigError(f"{path} holds {size:,} bytes beside the tokenizer's own: leave only its files there")
    # A file of another name than the published ones would not be found in a folder.
    name = 'sentencepiece.bpe.model' if kind == 'RefSegTokenizer' and path.is_file() else None
    content = {name or one.name: base64.b64encode(one.read_bytes()).decode('ascii') for one in files}
    return dict(type=kind, options=config, files=content)


def _write_onnx(
    program: torch.export.ExportedProgram, path: Path, names: tuple[str, ...], dtype: str
) -> Callable[[str], None]:
    """Write the graph; what comes back writes the metadata into it."""
    import onnx
    import onnx_ir as ir
    from onnx_ir.passes import common
    from onnxscript import optimizer

    from rs2sam2.export.narrow import narrow

    tidy = ir.passes.Sequential(
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
    )
    inputs = [name for name in INPUTS if name in {spec.arg.name for spec in program.graph_signature.input_specs}]
    with _quiet():
        found = torch.onnx.export(
            program, dynamo=True, input_names=inputs, output_names=list(names), verbose=False, optimize=False
        ).model
        # Not `optimize=True`: its rewrite rules look through the whole graph once for every node of it. onnxruntime has
        # rules of its own when it loads the file.
        optimizer.inline(found)
        optimizer.fold_constants(found)
        tidy(found)
    for value in (*found.graph.inputs, *found.graph.outputs):
        value.metadata_props.clear()
    if dtype != 'fp32':
        narrow(found, dtype)
    size = sum(value.const_value.nbytes for value in found.graph.initializers.values())
    ir.save(found, path, external_data=data_of(path).name if size > _INSIDE else None)

    def write(text: str) -> None:
        proto = onnx.load(path, load_external_data=False)
        onnx.helper.set_model_props(proto, {KEY: text})
        proto.producer_name, proto.producer_version = 'rs2sam2', version('rs2sam2')
        onnx.save(proto, path)

    return write


def _write_torch(
    program: torch.export.ExportedProgram, path: Path, names: tuple[str, ...], dtype: str
) -> Callable[[str], None]:
    def write(text: str) -> None:
        with warnings.catch_warnings():
            # Of weights that are a part of what they were cut from; the check reads back what was written.
            warnings.filterwarnings('ignore', 'No complete tensor found in the group')
            torch.export.save(program, path, extra_files={KEY: text})

    write('')
    return write


def _onnx_runner(path: Path, names: tuple[str, ...]) -> Callable[[Feeds], Mapping[str, np.ndarray]]:
    session, _ = open_session(path, 'cpu')
    return lambda feeds: dict(zip(names, session.run(None, feeds), strict=True))


def _torch_runner(path: Path, names: tuple[str, ...]) -> Callable[[Feeds], Mapping[str, np.ndarray]]:
    module = torch.export.load(path).module()

    def run(feeds: Feeds) -> Mapping[str, np.ndarray]:
        with torch.inference_mode():
            found = module(*(torch.from_numpy(feeds[name]) for name in INPUTS if name in feeds))
        return dict(zip(names, (value.numpy() for value in found), strict=True))

    return run


class _quiet:
    """torch's exporter logs every optimisation that it does not do."""

    def __enter__(self) -> None:
        import logging

        self._loggers = [logging.getLogger(name) for name in ('onnx_ir', 'onnxscript', 'torch.onnx')]
        self._levels = [logger.level for logger in self._loggers]
        for logger in self._loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self._loggers, self._levels, strict=True):
            logger.setLevel(level)
