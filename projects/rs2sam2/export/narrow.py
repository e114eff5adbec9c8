"""Weights stored in fewer bits, turned back to fp32 where they are used: a smaller file, nearly the same numbers."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir

SMALLEST = 4096
"""Weights of fewer numbers stay as they are: there is nothing to gain."""
# The axis of a weight's output channels, by who reads it and at which place.
_CHANNELS = {('MatMul', 1): 1, ('Conv', 1): 0, ('ConvTranspose', 1): 1}


def narrow(model: 'onnx_ir.Model', dtype: str) -> int:
    """Store the weights of a model in fp16 (`Cast` turns them back) or int8 (`DequantizeLinear`), in place.

    fp16: every weight. int8: those of linear layers and convolutions, symmetric, one scale an output channel; tables,
    norms and biases stay in fp32.

    Args:
        model: the graph.
        dtype: 'fp16' or 'int8'.

    Returns:
        How many weights are stored so.
    """
    import onnx_ir as ir

    graph, count = model.graph, 0
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < SMALLEST:
            continue
        if dtype == 'fp16':
            stored = [_initializer(graph, f'{name}.fp16', tensor.numpy().astype(np.float16))]
            node = ir.node('Cast', stored, {'to': ir.DataType.FLOAT}, name=f'{name}.fp32')
        else:
            axis = _channel_axis(value)
            if axis is None:
                continue
            numbers, scale = quantize(tensor.numpy(), axis)
            stored = [
                _initializer(graph, f'{name}.int8', numbers),
                _initializer(graph, f'{name}.scale', scale),
            ]
            node = ir.node('DequantizeLinear', stored, {'axis': axis}, name=f'{name}.fp32')
        node.outputs[0].name, node.outputs[0].shape = f'{name}.fp32', value.shape
        node.outputs[0].dtype = ir.DataType.FLOAT
        ir.convenience.replace_all_uses_with(value, node.outputs[0])
        graph.insert_before(graph[0], node)
        del graph.initializers[name]
        count += 1
    return count


def quantize(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers from -127 to 127, of the weight's shape, and the scale of each channel of an axis, (C,) float32."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.maximum(np.abs(weight).max(axis=others, keepdims=True) / 127, np.finfo(np.float32).tiny)
    return np.rint(weight / scale).clip(-127, 127).astype(np.int8), scale.ravel().astype(np.float32)


def _channel_axis(value: 'onnx_ir.Value') -> int | None:
    """The axis of output channels on which all readers of a weight agree; None where it is no weight of a product."""
    axes: set[int | None] = set()
    for use in value.uses():
        node, place = use.node, use.idx
        if node.op_type == 'Gemm' and place == 1:
            transposed = node.attributes.get('transB')
            axes.add(0 if transposed is not None and transposed.value else 1)
        elif node.op_type == 'MatMul' and place == 1 and len(value.shape) != 2:
            axes.add(None)
        else:
            axes.add(_CHANNELS.get((node.op_type, place)))
    return axes.pop() if len(axes) == 1 else None


def _initializer(graph: 'onnx_ir.Graph', name: str, array: np.ndarray) -> 'onnx_ir.Value':
    import onnx_ir as ir

    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value
