"""What the zoo's models are made with: nodes, constants, and files. Used by `operators.py` and `graphs.py`."""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

FOLDER = Path(sys.argv[1])
RANDOM = np.random.default_rng(8)
WIDTHS = [1, 3, 5, 8, 17, 33]
F32 = T.FLOAT


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, [name if name != "-" else "" for name in inputs.split()], outputs.split(), **attributes)


def weights(name, *shape, dtype=np.float32):
    return numpy_helper.from_array((RANDOM.standard_normal(shape) / np.sqrt(shape[0])).astype(dtype), name)


def constant(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def axes(*values, name="axes"):
    return constant(name, np.array(values, np.int64))


def save(name, nodes, inputs, output=F32, constants=(), opset=21, batch=None, ir_version=10):
    """Inputs are (name, type, shape of a row); the result is `y`, whose shape ONNX Runtime finds itself."""

    def info(name, dtype, shape):
        shape = list(shape)
        shape.insert((batch or {}).get(name, 0), "batch")
        return helper.make_tensor_value_info(name, dtype, shape)

    result = helper.make_tensor_value_info("y", output, None)
    graph = helper.make_graph(nodes, name, [info(*given) for given in inputs], [result], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    path = FOLDER / f"{name}.onnx"
    assert not path.exists(), f"there are two models called {name}"
    path.write_bytes(made.SerializeToString(deterministic=True))
