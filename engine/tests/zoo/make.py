"""Makes the zoo: models of each operator of the table of classes in many widths, and real ones from wheels, as .onnx files.

    python3 engine/tests/zoo/make.py FOLDER WHEELS

Run by `.ci/parts/zoo`. The same files on every run.
"""

import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

FOLDER, WHEELS = Path(sys.argv[1]), Path(sys.argv[2])
RANDOM = np.random.default_rng(8)
WIDTHS = [1, 3, 5, 8, 17, 33]
F32 = T.FLOAT


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def weights(name, *shape, dtype=np.float32):
    return numpy_helper.from_array((RANDOM.standard_normal(shape) / np.sqrt(shape[0])).astype(dtype), name)


def constant(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def axes(*values):
    return constant("axes", np.array(values, np.int64))


def save(name, nodes, inputs, output=F32, constants=(), opset=21, batch=None):
    """Inputs are (name, type, shape of a row); the result is `y`, whose shape ONNX Runtime finds itself."""

    def info(name, dtype, shape):
        shape = list(shape)
        shape.insert((batch or {}).get(name, 0), "batch")
        return helper.make_tensor_value_info(name, dtype, shape)

    result = helper.make_tensor_value_info("y", output, None)
    graph = helper.make_graph(nodes, name, [info(*given) for given in inputs], [result], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    (FOLDER / f"{name}.onnx").write_bytes(made.SerializeToString(deterministic=True))


UNARY = (
    "Abs Acosh Asinh Atan Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Mish Neg Reciprocal Relu Round "
    "Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Tan Tanh ThresholdedRelu"
).split()
for w in WIDTHS:
    x = [("x", F32, (w,))]
    for op in UNARY:
        save(f"unary-{op}-{w}", [node(op, "x", "y")], x)
    for op in ["Acos", "Asin", "Atanh"]:
        save(f"unary-{op}-{w}", [node("Tanh", "x", "a"), node(op, "a", "y")], x)
    for op in ["Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"]:
        save(f"binary-{op}-{w}", [node(op, "x z", "y")], [*x, ("z", F32, (w,))])
    for op in ["Sin", "Exp", "Tanh", "Log", "Sigmoid"]:
        save(f"f64-{op}-{w}", [node(op, "x", "y")], [("x", T.DOUBLE, (w,))], T.DOUBLE)
    for op in ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceLogSumExp"]:
        # Since version 18 all of them take axes as an input, before it most as an attribute.
        save(f"reduce-{op}-{w}", [node(op, "x axes", "y", keepdims=1)], x, constants=[axes(1)])
        save(f"reduce-middle-{op}-{w}", [node(op, "x axes", "y")], [("x", F32, (w, 7))], constants=[axes(1)])
        save(f"reduce-two-{op}-{w}", [node(op, "x axes", "y", keepdims=0)], [("x", F32, (3, w))], constants=[axes(1, 2)])
        save(f"reduce-batch-{op}-{w}", [node(op, "x axes", "s"), node("Add", "x s", "y")], x, constants=[axes(0)])
    for op in ["ReduceMean", "ReduceMax"]:
        save(f"reduce-old-{op}-{w}", [node(op, "x", "y", axes=[1])], x, opset=13)
    parts = [node("Transpose", "x", "t", perm=[0, 2, 1]), node("ReduceMean", "t axes", "y")]
    save(f"reduce-transposed-{w}", parts, [("x", F32, (w, 7))], constants=[axes(-1)])
    save(f"softmax-{w}", [node("Softmax", "x", "y", axis=-1)], x)
    save(f"softmax-middle-{w}", [node("Softmax", "x", "y", axis=1)], [("x", F32, (w, 5))])
    norm = [weights("g", w), weights("b", w)]
    save(f"layer-norm-{w}", [node("LayerNormalization", "x g b", "y", axis=-1)], x, constants=norm)
    by_hand = [
        node("ReduceMean", "x axes", "m"),
        node("Sub", "x m", "d"),
        node("Mul", "d d", "q"),
        node("ReduceMean", "q axes", "v"),
        node("Add", "v e", "ve"),
        node("Sqrt", "ve", "r"),
        node("Div", "d r", "z"),
        node("Mul", "z g", "zg"),
        node("Add", "zg b", "y"),
    ]
    save(f"layer-norm-by-hand-{w}", by_hand, x, constants=[axes(-1), constant("e", np.float32(1e-5)), *norm])
    image = [("x", F32, (3, w, 5))]
    three = [weights(name, 3) for name in "gb"]
    save(f"instance-norm-{w}", [node("InstanceNormalization", "x g b", "y")], image, constants=three)
    moments = [constant("m", np.zeros(3, np.float32)), constant("v", np.array([0.5, 1, 2], np.float32))]
    save(f"batch-norm-{w}", [node("BatchNormalization", "x g b m v", "y")], image, constants=[*three, *moments])
    for n in [1, 5, 33]:
        save(f"mat-mul-{w}-{n}", [node("MatMul", "x w", "y")], x, constants=[weights("w", w, n)])
        gemm = [weights("w", n, w), weights("b", n)]
        save(f"gemm-{w}-{n}", [node("Gemm", "x w b", "g", transB=1), node("Relu", "g", "y")], x, constants=gemm)
        both = [("x", F32, (3, w)), ("w", F32, (w, n))]
        save(f"mat-mul-of-rows-{w}-{n}", [node("MatMul", "x w", "y")], both)
    save(f"einsum-{w}", [node("Einsum", "x w", "y", equation="ni,ij->nj")], x, constants=[weights("w", w, 9)])
    quantised = [constant("wq", RANDOM.integers(-127, 127, (w, 9)).astype(np.int8)), constant("sw", np.float32(0.01))]
    dynamic = [
        node("DynamicQuantizeLinear", "x", "q s z"),
        node("MatMulInteger", "q wq z", "i"),
        node("Cast", "i", "f", to=F32),
        node("Mul", "f s", "a"),
        node("Mul", "a sw", "y"),
    ]
    save(f"dynamic-int8-{w}", dynamic, x, constants=quantised)
    conv = [weights("w", 8, 3, 3, 3), weights("b", 8)]
    save(f"conv-{w}", [node("Conv", "x w b", "c", pads=[1] * 4), node("Relu", "c", "y")], image, constants=conv)
    save(f"conv-sin-{w}", [node("Conv", "x w b", "c", pads=[1] * 4), node("Sin", "c", "y")], image, constants=conv)
    pools = [node("MaxPool", "x", "m", kernel_shape=[3, 3], pads=[1] * 4), node("GlobalAveragePool", "m", "y")]
    save(f"pool-{w}", pools, image)
    for op, gates, biases in [("GRU", 3, 6), ("LSTM", 4, 8), ("RNN", 1, 2)]:
        cells = [weights("w", 1, gates * w, 8), weights("r", 1, gates * w, w), weights("b", 1, biases * w)]
        cell = [node(op, "x w r b", "all y", hidden_size=w)]
        save(f"{op.lower()}-{w}", cell, [("x", F32, (4, 8))], constants=cells, batch={"x": 1})
    heads = [weights(name, w, w) for name in ("wq", "wk", "wv")]
    attention = [
        node("MatMul", "x wq", "q"),
        node("MatMul", "x wk", "k"),
        node("MatMul", "x wv", "v"),
        node("Transpose", "k", "kt", perm=[0, 2, 1]),
        node("MatMul", "q kt", "s"),
        node("Softmax", "s", "p", axis=-1),
        node("MatMul", "p v", "y"),
    ]
    save(f"attention-{w}", attention, [("x", F32, (5, w))], constants=heads)
    for op in ["Relu", "Tanh", "Sin", "Mish"]:
        layers = [weights("w1", w, w), weights("b1", w), weights("w2", w, 5), weights("b2", 5)]
        perceptron = [node("Gemm", "x w1 b1", "a"), node(op, "a", "h"), node("Gemm", "h w2 b2", "l")]
        save(f"mlp-{op}-{w}", [*perceptron, node("Softmax", "l", "y", axis=1)], x, constants=layers)
        dueling = [*perceptron, node("ReduceMean", "l axes", "v"), node("Sub", "l v", "y")]
        save(f"dueling-{op}-{w}", dueling, x, constants=[*layers, axes(1)])

# What people use: speech is found by Silero's models, kinds of files by Magika's.
REAL = {
    "silero_vad": ["silero_vad/data/silero_vad_16k_op15.onnx", "silero_vad/data/silero_vad_half.onnx"],
    "magika": ["magika/models/standard_v3_3/model.onnx"],
}
SAMPLE_RATE = numpy_helper.from_array(np.array(16_000, np.int64), "sr")
for package, files in REAL.items():
    [wheel] = WHEELS.glob(f"{package}-*.whl")
    for file in files:
        model = onnx.load_model_from_string(zipfile.ZipFile(wheel).read(file))
        for given in list(model.graph.input):
            if given.name == "sr":
                # The rate of the samples, as an agent would give it in each row.
                model.graph.input.remove(given)
                model.graph.initializer.append(SAMPLE_RATE)
            # Sizes that the models leave open: 36 ms of sound with what came before.
            elif given.name == "input":
                given.type.tensor_type.shape.dim[1].dim_value = 576
        (FOLDER / f"real-{Path(file).stem}-{package}.onnx").write_bytes(model.SerializeToString(deterministic=True))
