"""What an exported model carries, what is refused, and how weights are narrowed; no model is exported here."""

import json
from types import SimpleNamespace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from rs2sam2 import RefSegInferencer
from rs2sam2.errors import CheckpointError, ConfigError, OutputError
from rs2sam2.export.check import compare
from rs2sam2.export.narrow import narrow, quantize
from rs2sam2.export.run import export_model
from rs2sam2.inference.exported import Exported, InputSizes, data_of
from rs2sam2.inference.onnx_inferencer import OnnxInferencer


def make(**changes) -> Exported:
    tokenizer = dict(type='RefSegTokenizer', options={}, files={})
    known = dict(pad_id=1, tokenizer=tokenizer, max_length=None, keep_last=True, precision='fp32', trained_on=None)
    return Exported(**{'sizes': InputSizes(64, 32, 50, 30), 'scene': {}, 'tta': {}, **known, **changes})


def test_metadata_is_read_as_it_was_written():
    exported = make(scene=dict(window=64), trained_on='roofs', check=dict(inputs=3))
    assert Exported.read(exported.text(), 'x.onnx') == exported


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        (None, 'was not written by rs2sam2 export'),
        ('{', 'damaged'),
        ('{"format": 1}', 'damaged'),
        ('{"format": 2}', 'update rs2sam2'),
        (make(sizes=InputSizes(10**9, 32, 50, 30)).text(), 'out of range'),
        (make(tokenizer=dict(type='os.system', options={}, files={})).text(), 'no tokenizer'),
    ],
)
def test_metadata_of_elsewhere_is_refused_in_one_line(text, said):
    with pytest.raises(CheckpointError, match=said):
        Exported.read(text, 'x.onnx')


def test_a_tokenizer_leaves_no_file_outside_its_folder():
    exported = make(tokenizer=dict(type='RefSegTokenizer', options={}, files={'../x': ''}))
    with pytest.raises(CheckpointError, match='no plain name'):
        exported.make_tokenizer('x.onnx')


def test_two_models_of_one_graph_are_told_apart_by_their_weights(tmp_path):
    told = []
    for name in ('a', 'b'):
        graph = tmp_path / f'{name}.onnx'
        graph.write_bytes(b'the same graph')
        data_of(graph).write_bytes(name.encode())
        inferencer = object.__new__(OnnxInferencer)
        inferencer.source = SimpleNamespace(weights=graph)
        told.append(inferencer._digests)
    assert told[0]['config'] == told[1]['config']
    assert told[0]['weights'] != told[1]['weights']


def test_what_an_exported_model_cannot_do_is_said(tmp_path):
    with pytest.raises(CheckpointError, match='is missing'):
        RefSegInferencer(tmp_path / 'no.onnx')
    (tmp_path / 'text.onnx').write_text('no model')
    with pytest.raises(CheckpointError, match='cannot be run'):
        RefSegInferencer(tmp_path / 'text.onnx')
    with pytest.raises(ConfigError, match='leave out --weights'):
        RefSegInferencer(tmp_path / 'text.onnx', 'x.pth')
    with pytest.raises(ConfigError, match='cannot be used by this onnxruntime'):
        RefSegInferencer(tmp_path / 'text.onnx', device='tpu')
    onnx.save(linear(np.eye(4, dtype=np.float32)), tmp_path / 'other.onnx')
    with pytest.raises(CheckpointError, match='was not written by rs2sam2 export'):
        RefSegInferencer(tmp_path / 'other.onnx')


@pytest.mark.parametrize(
    ('name', 'options', 'error', 'said'),
    [
        ('m.onnx', dict(format='tf'), ConfigError, '--format tf'),
        ('m.pt2', {}, ConfigError, r'is named \*.onnx'),
        ('m.onnx', dict(dtype='int4'), ConfigError, '--dtype int4'),
        ('m.pt2', dict(format='torch', dtype='int8'), ConfigError, 'keeps fp32'),
        ('there.onnx', {}, OutputError, 'is there already'),
    ],
)
def test_exports_that_make_no_sense(tmp_path, name, options, error, said):
    (tmp_path / 'there.onnx').touch()
    with pytest.raises(error, match=said):
        export_model('demo', tmp_path / name, **options)
    assert {path.name for path in tmp_path.iterdir()} == {'there.onnx'}


def linear(weight: np.ndarray) -> onnx.ModelProto:
    """x (2, K) times a weight (K, N)."""
    make_value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node('MatMul', ['x', 'w'], ['y'])],
        'linear',
        [make_value('x', onnx.TensorProto.FLOAT, [2, weight.shape[0]])],
        [make_value('y', onnx.TensorProto.FLOAT, [2, weight.shape[1]])],
        [onnx.numpy_helper.from_array(weight, 'w')],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 20)], ir_version=10)


@pytest.mark.parametrize(('dtype', 'bits', 'limit'), [('fp16', 16, 1e-3), ('int8', 8, 3e-2)])
def test_narrowed_weights_give_nearly_the_same_numbers(dtype, bits, limit):
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(96, 64)).astype(np.float32) * rng.uniform(0.01, 10, 64).astype(np.float32)
    x = rng.normal(size=(2, 96)).astype(np.float32)
    model = ir.from_proto(linear(weight))
    assert narrow(model, dtype) == 1
    proto = ir.to_proto(model)
    assert sum(len(one.raw_data) for one in proto.graph.initializer) <= weight.size * bits / 8 + 4 * 64
    (found,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {'x': x})
    expected = x @ weight
    # A scale a channel: small channels are as near as large ones.
    assert (np.abs(found - expected).max(0) / np.linalg.norm(weight, axis=0)).max() < limit


def test_a_channel_of_zeros_stays_zero():
    numbers, scale = quantize(np.array([[0, 1], [0, -2]], np.float32), 1)
    np.testing.assert_array_equal(numbers * scale, [[0, numbers[0, 1] * scale[1]], [0, -2]])


def test_a_model_that_differs_is_not_let_through():
    known = dict(mask_logits=np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8))
    near = dict(mask_logits=known['mask_logits'] + 1e-3)
    report = compare(lambda feeds: near, [{}], [known], exact=False, size=16)
    assert report['largest_difference_over_spread']['mask_logits'] == pytest.approx(1.7e-3, rel=0.1)
    with pytest.raises(CheckpointError, match='nothing was written'):
        compare(lambda feeds: near, [{}], [known], exact=True, size=16)
    with pytest.raises(CheckpointError, match='NaN'):
        compare(lambda feeds: dict(mask_logits=known['mask_logits'] * np.nan), [{}], [known], exact=False, size=16)
    assert json.dumps(report)
