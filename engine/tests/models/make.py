"""Makes the small models of the engine's inference tests. Each shows one thing, and is smaller than 2 kB, but for the one that is
measured.

    python3 -m pip install onnx==1.23.2
    python3 engine/tests/models/make.py

The same bytes on every run.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import external_data_helper, helper, numpy_helper

HERE = Path(__file__).parent


def info(name, dtype, shape):
    return helper.make_tensor_value_info(name, dtype, shape)


def constant(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.array(values, dtype), name)


def model(name, nodes, inputs, outputs, constants=(), bytes_max=2048):
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    content = made.SerializeToString(deterministic=True)
    assert len(content) < bytes_max, (name, len(content))
    (HERE / f"{name}.onnx").write_bytes(content)
    return content


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def weights(*shape):
    """Fixed numbers that aren't short in binary, so that the order of a sum shows in its last bits."""
    return np.sin(np.arange(1, np.prod(shape) + 1) * 12.9898).reshape(shape).astype(np.float32)


# Each supported type, in and out, in one model. Numbers are doubled where the CPU provider can, a bool is negated.
TYPES = {"f32": T.FLOAT, "f64": T.DOUBLE, "i64": T.INT64, "i32": T.INT32, "u8": T.UINT8, "i8": T.INT8, "bool": T.BOOL}
model(
    "types",
    [node("Add", f"{t} {t}", f"{t}_out") for t in ("f32", "f64", "i64", "i32")]
    + [node("Identity", t, f"{t}_out") for t in ("u8", "i8")]
    + [node("Not", "bool", "bool_out")],
    [info(t, number, ["batch", 2]) for t, number in TYPES.items()],
    [info(f"{t}_out", number, ["batch", 2]) for t, number in TYPES.items()],
)

# Two inputs of two types and ranks, two outputs.
model(
    "two",
    [
        node("Cast", "b", "b_f32", to=T.FLOAT),
        node("Unsqueeze", "b_f32 one", "b_column"),
        node("Add", "a b_column", "sum"),
        node("Add", "b b", "twice"),
    ],
    [info("a", T.FLOAT, ["batch", 2]), info("b", T.INT32, ["batch"])],
    [info("sum", T.FLOAT, ["batch", 2]), info("twice", T.INT32, ["batch"])],
    [constant("one", [1], np.int64)],
)

# A float model whose rows don't depend on each other.
model(
    "gemm",
    [node("Gemm", "x w b", "h"), node("Tanh", "h", "y")],
    [info("x", T.FLOAT, ["batch", 24])],
    [info("y", T.FLOAT, ["batch", 8])],
    [constant("w", weights(24, 8)), constant("b", weights(8))],
)

# A small network, as agents have them: what its forms cost is measured.
model(
    "mlp",
    [
        node("Gemm", "x w1 b1", "s1"),
        node("Relu", "s1", "h1"),
        node("Gemm", "h1 w2 b2", "s2"),
        node("Relu", "s2", "h2"),
        node("Gemm", "h2 w3 b3", "y"),
    ],
    [info("x", T.FLOAT, ["batch", 32])],
    [info("y", T.FLOAT, ["batch", 8])],
    [
        constant(f"{kind}{layer}", weights(*(shape if kind == "w" else shape[1:])))
        for layer, shape in [(1, (32, 64)), (2, (64, 64)), (3, (64, 8))]
        for kind in "wb"
    ],
    bytes_max=32_768,
)

# Blocks of four rows; and one in which the place in the block matters.
for name, factors in [("fixed4", [[2]]), ("fixed4-place", [[1], [2], [3], [4]])]:
    model(
        name,
        [node("Mul", "x factors", "y")],
        [info("x", T.FLOAT, [4, 3])],
        [info("y", T.FLOAT, [4, 3])],
        [constant("factors", factors)],
    )

# A second dynamic dimension, with a name and without.
for name, dimension in [("seq", "seq"), ("unnamed", None)]:
    model(
        name,
        [node("Add", "x x", "twice"), node("ReduceSum", "x one", "total", keepdims=0)],
        [info("x", T.FLOAT, ["batch", dimension])],
        [info("twice", T.FLOAT, ["batch", dimension]), info("total", T.FLOAT, ["batch"])],
        [constant("one", [1], np.int64)],
    )

# A row's result depends on its neighbours: plainly, and as in a dynamically quantised network.
model(
    "mean",
    [node("ReduceMean", "x", "mean", axes=[0], keepdims=1), node("Sub", "x mean", "y")],
    [info("x", T.FLOAT, ["batch", 2])],
    [info("y", T.FLOAT, ["batch", 2])],
)
model(
    "dynamic-quantised",
    [
        node("DynamicQuantizeLinear", "x", "q scale zero"),
        node("MatMulInteger", "q w zero", "sums"),
        node("Cast", "sums", "sums_f32", to=T.FLOAT),
        node("Mul", "sums_f32 scale", "y"),
    ],
    [info("x", T.FLOAT, ["batch", 8])],
    [info("y", T.FLOAT, ["batch", 4])],
    [constant("w", np.rint(100 * weights(8, 4)), np.int8)],
)

# The output has no rows.
model(
    "pooled",
    [node("ReduceMean", "x", "y", axes=[0], keepdims=0)],
    [info("x", T.FLOAT, ["batch", 2])],
    [info("y", T.FLOAT, [2])],
)

# Fails on a row whose index isn't in -5..5.
model(
    "lookup",
    [node("Gather", "table index", "y")],
    [info("index", T.INT64, ["batch"])],
    [info("y", T.FLOAT, ["batch", 2])],
    [constant("table", [[10 * i, 10 * i + 1] for i in range(5)])],
)

# Gives other results each time.
model(
    "random",
    [node("RandomUniformLike", "x", "noise"), node("Add", "x noise", "y")],
    [info("x", T.FLOAT, ["batch", 2])],
    [info("y", T.FLOAT, ["batch", 2])],
)

# One row only, by a leading dimension of 1; and a state whose batch dimension isn't the leading one.
model("single", [node("Add", "x x", "y")], [info("x", T.FLOAT, [1, 2])], [info("y", T.FLOAT, [1, 2])])
model(
    "state",
    [
        node("ReduceSum", "state zero", "past", keepdims=0),
        node("Add", "x past", "y"),
        node("Add", "state state", "next"),
    ],
    [info("x", T.FLOAT, ["batch", 1]), info("state", T.FLOAT, [2, "batch", 1])],
    [info("y", T.FLOAT, ["batch", 1]), info("next", T.FLOAT, [2, "batch", 1])],
    [constant("zero", [0], np.int64)],
)

# Two inputs that disagree on what the leading dimension is.
model(
    "two-leading",
    [node("MatMul", "a b", "y")],
    [info("a", T.FLOAT, ["batch", 2]), info("b", T.FLOAT, ["seq", 2, 3])],
    [info("y", T.FLOAT, ["seq", "batch", 3])],
)

# Types that aren't supported.
model(
    "float16",
    [node("Cast", "x", "y", to=T.FLOAT)],
    [info("x", T.FLOAT16, ["batch", 2])],
    [info("y", T.FLOAT, ["batch", 2])],
)
model("string", [node("Identity", "x", "y")], [info("x", T.STRING, ["batch"])], [info("y", T.STRING, ["batch"])])
model(
    "sequence",
    [node("SequenceConstruct", "x x", "y")],
    [info("x", T.FLOAT, ["batch", 2])],
    [helper.make_tensor_sequence_value_info("y", T.FLOAT, ["batch", 2])],
)

# An operator that doesn't exist, a file that ends early, and one whose weights are in another file.
graph = helper.make_graph(
    [helper.make_node("NoSuchOperator", ["x"], ["y"], domain="example.invalid")],
    "unknown-operator",
    [info("x", T.FLOAT, ["batch", 2])],
    [info("y", T.FLOAT, ["batch", 2])],
)
opsets = [helper.make_opsetid("", 17), helper.make_opsetid("example.invalid", 1)]
made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
(HERE / "unknown-operator.onnx").write_bytes(made.SerializeToString(deterministic=True))

whole = (HERE / "gemm.onnx").read_bytes()
(HERE / "truncated.onnx").write_bytes(whole[: len(whole) * 2 // 3])

outside = onnx.load_model_from_string(whole)
for tensor in outside.graph.initializer:
    external_data_helper.set_external_data(tensor, location="weights.bin", offset=0, length=len(tensor.raw_data))
    tensor.ClearField("raw_data")
(HERE / "external.onnx").write_bytes(outside.SerializeToString(deterministic=True))

# What may never end, or take all memory: a loop whose trip count is an input, and a tensor whose size is one.
body = helper.make_graph(
    [node("Mul", "in factor", "out"), node("Identity", "go", "on")],
    "body",
    [info("at", T.INT64, []), info("go", T.BOOL, []), info("in", T.FLOAT, ["batch", 4])],
    [info("on", T.BOOL, []), info("out", T.FLOAT, ["batch", 4])],
    [constant("factor", 1.5)],
)
model(
    "loop",
    [node("ReduceMax", "times", "most", keepdims=0), helper.make_node("Loop", ["most", "", "x"], ["y"], body=body)],
    [info("x", T.FLOAT, ["batch", 4]), info("times", T.INT64, ["batch", 1])],
    [info("y", T.FLOAT, ["batch", 4])],
)
# One whose trip count is its own: it never comes back, whatever it is given.
model(
    "endless",
    [helper.make_node("Loop", ["trips", "", "x"], ["y"], body=body)],
    [info("x", T.FLOAT, ["batch", 4])],
    [info("y", T.FLOAT, ["batch", 4])],
    [constant("trips", 1 << 60, np.int64)],
)
model(
    "bomb",
    [
        node("ReduceMax", "size", "most", keepdims=0),
        node("Unsqueeze", "most zero", "shape"),
        node("ConstantOfShape", "shape", "huge"),
        node("ReduceSum", "huge", "sum", keepdims=0),
        node("Add", "x sum", "y"),
    ],
    [info("x", T.FLOAT, ["batch", 1]), info("size", T.INT64, ["batch", 1])],
    [info("y", T.FLOAT, ["batch", 1])],
    [constant("zero", [0], np.int64)],
)

# Four rows that fail on zeros, so that the output's shape is only declared; and it isn't four rows.
model(
    "turned",
    [node("Add", "x six", "index"), node("Gather", "table index", "found"), node("Transpose", "found", "y")],
    [info("x", T.INT64, [4, 2])],
    [info("y", T.FLOAT, [2, 4])],
    [constant("six", [6], np.int64), constant("table", [1, 2, 3, 4, 5, 6])],
)

# A row takes 2.4 MB on the way, whatever it holds.
model(
    "wide",
    [node("Expand", "x shape", "wide"), node("Exp", "wide", "grown"), node("ReduceMax", "grown", "y", axes=[1])],
    [info("x", T.FLOAT, ["batch", 1])],
    [info("y", T.FLOAT, ["batch", 1])],
    [constant("shape", [1, 600_000], np.int64)],
)

# A single operator that takes as long as a row says: 2^18 steps for each element of a signal, whose length is an input.
model(
    "operator",
    [
        node("ReduceMax", "length", "most", keepdims=1),
        node("Reshape", "most one", "elements"),
        node("Max", "elements one", "at_least_one"),
        node("Concat", "one one at_least_one", "shape", axis=0),
        node("ConstantOfShape", "shape", "signal", value=constant("", [0.25])),
        # Dilated, so that no vector loop is found for it.
        node("MaxPool", "signal", "pooled", kernel_shape=[(1 << 18) + 1], dilations=[2], pads=[1 << 18, 1 << 18]),
        node("ReduceMax", "pooled", "greatest", keepdims=0),
        node("Add", "x greatest", "y"),
    ],
    [info("x", T.FLOAT, ["batch", 4]), info("length", T.INT64, ["batch", 1])],
    [info("y", T.FLOAT, ["batch", 4])],
    [constant("one", [1], np.int64)],
)

# Rows that add what is above a million in any of them: a coupling that shows only beside hostile neighbours.
model(
    "rare",
    [
        node("Greater", "x million", "is_huge"),
        node("Cast", "is_huge", "mask", to=T.FLOAT),
        node("Mul", "mask x", "huge"),
        node("ReduceSum", "huge zero", "sum", keepdims=1),
        node("Add", "x sum", "y"),
    ],
    [info("x", T.FLOAT, ["batch", 2])],
    [info("y", T.FLOAT, ["batch", 2])],
    [constant("million", 1e6), constant("zero", [0], np.int64)],
)

# An output whose shape follows from what the input holds.
model(
    "nonzero",
    [node("Relu", "x", "positive"), helper.make_node("NonZero", ["positive"], ["y"], name="count")],
    [info("x", T.FLOAT, [8])],
    [info("y", T.INT64, [1, "k"])],
)

# Whole numbers divided by each other: the least one divided by -1 ends a process.
model(
    "divides",
    [node("Div", "a b", "ratio"), node("Mod", "a b", "y")],
    [info("a", T.INT32, ["batch", 2]), info("b", T.INT32, ["batch", 2])],
    [info("y", T.INT32, ["batch", 2])],
)

# Results that need runs of 16 rows, and 0.5 MB for each of them.
model(
    "waves",
    [node("Expand", "x shape", "wide"), node("Sin", "wide", "waves"), node("Slice", "waves start end axis", "y")],
    [info("x", T.FLOAT, ["batch", 1])],
    [info("y", T.FLOAT, ["batch", 1])],
    [
        constant("shape", [1, 65_533], np.int64),
        constant("start", [65_532], np.int64),
        constant("end", [65_533], np.int64),
        constant("axis", [1], np.int64),
    ],
)


def of_functions(name, called):
    """A model that calls one of two functions of the same name: `whole` divides, `half` halves."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]

    def function(overload, *nodes):
        return helper.make_function("own", "ratio", ["a", "b"], ["c"], nodes, opsets[:1], overload=overload)

    half = node("Constant", "", "two", value=constant("", [2], np.int32))
    functions = [
        function("whole", node("Div", "a b", "c")),
        function("half", half, node("Div", "a two", "c")),
    ]
    call = helper.make_node("ratio", ["a", "b"], ["y"], domain="own", overload=called)
    tensors = {tensor: info(tensor, T.INT32, ["batch", 2]) for tensor in "aby"}
    graph = helper.make_graph([call], name, [tensors["a"], tensors["b"]], [tensors["y"]])
    made = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=10)
    onnx.checker.check_model(made)
    (HERE / f"{name}.onnx").write_bytes(made.SerializeToString(deterministic=True))


of_functions("function", "half")
of_functions("function-divides", "whole")
