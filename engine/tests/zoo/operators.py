"""Models of one operator or a few, in many widths, and larger ones. Called by `make.py`."""

import numpy as np
from onnx import TensorProto as T

from common import F32, RANDOM, WIDTHS, axes, constant, node, save, weights

UNARY = (
    "Abs Acosh Asinh Atan Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Mish Neg Reciprocal Relu Round "
    "Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Tan Tanh ThresholdedRelu"
).split()
F64 = "Abs Cos Exp Floor Log Neg Reciprocal Sigmoid Sin Sqrt Tanh".split()
REDUCTIONS = "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare".split()
# What was tested over a dimension in the middle, or goes along another one than it says.
WIDE = "ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceSum".split()


def make():
    for w in WIDTHS:
        elements(w)
        types(w)
        sums(w)
        transposed(w)
        norms(w)
        moves(w)
        products(w)
        quantised(w)
        images(w)
        recurrent(w)
        networks(w)
    for w in [2, 4, 6, 12, 16, 20, 64]:
        elements(w)
        sums(w)
        transposed(w)


def elements(w):
    x, one = [("x", F32, (w,))], [("x", F32, (w,)), ("z", F32, (w,))]
    for op in UNARY:
        save(f"unary-{op}-{w}", [node(op, "x", "y")], x)
    for op in ["Acos", "Asin", "Atanh"]:
        save(f"unary-{op}-{w}", [node("Tanh", "x", "a"), node(op, "a", "y")], x)
    for op in ["Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"]:
        save(f"binary-{op}-{w}", [node(op, "x z", "y")], one)
        save(f"broadcast-{op}-{w}", [node(op, "x z", "y")], [*x, ("z", F32, (1,))])
    for op in ["Mul", "Max", "PRelu"]:
        save(f"constant-{op}-{w}", [node(op, "x c", "y")], x, constants=[weights("c", w)])
    bounds = [constant("low", np.float32(-2)), constant("high", np.float32(3))]
    save(f"clip-{w}", [node("Clip", "x low high", "y")], x, constants=bounds)
    save(f"where-{w}", [node("Greater", "x z", "g"), node("Where", "g x z", "y")], one)
    save(f"mod-{w}", [node("Mod", "x z", "y", fmod=1)], one)
    save(f"swish-{w}", [node("Sigmoid", "x", "s"), node("Mul", "x s", "y")], x)
    by_hand = [
        node("Div", "x r", "d"),
        node("Erf", "d", "e"),
        node("Add", "e o", "f"),
        node("Mul", "x f", "g"),
        node("Mul", "g h", "y"),
    ]
    numbers = [constant("r", np.float32(np.sqrt(2))), constant("o", np.float32(1)), constant("h", np.float32(0.5))]
    save(f"gelu-by-hand-{w}", by_hand, x, constants=numbers)


def types(w):
    double = [("x", T.DOUBLE, (w,))]
    for op in F64:
        save(f"f64-{op}-{w}", [node(op, "x", "y")], double, T.DOUBLE)
    save(f"f64-softmax-{w}", [node("Softmax", "x", "y", axis=-1)], double, T.DOUBLE)
    save(f"f64-mat-mul-{w}", [node("MatMul", "x w", "y")], double, T.DOUBLE, [weights("w", w, 9, dtype=np.float64)])
    save(f"f64-reduce-{w}", [node("ReduceSum", "x axes", "y")], double, T.DOUBLE, [axes(1)])
    half = [node("Cast", "x", "a", to=T.FLOAT16), node("Sigmoid", "a", "b"), node("Mul", "a b", "c"), node("Cast", "c", "y", to=F32)]
    save(f"f16-swish-{w}", half, [("x", F32, (w,))])
    half = [node("Cast", "x", "a", to=T.FLOAT16), node("MatMul", "a w", "b"), node("Cast", "b", "y", to=F32)]
    save(f"f16-mat-mul-{w}", half, [("x", F32, (w,))], constants=[weights("w", w, 9, dtype=np.float16)])
    for dtype, name in [(T.INT64, "i64"), (T.INT32, "i32")]:
        whole = [("x", dtype, (w,))]
        seven = constant("k", np.array(7, np.int64 if dtype == T.INT64 else np.int32))
        many = constant("w", RANDOM.integers(-9, 9, (w, 9)).astype(np.int64 if dtype == T.INT64 else np.int32))
        parts = [node("Mul", "x x", "a"), node("Div", "a k", "b"), node("Mod", "b k", "y")]
        save(f"{name}-arithmetic-{w}", parts, whole, dtype, [seven])
        save(f"{name}-mat-mul-{w}", [node("MatMul", "x w", "y")], whole, dtype, [many])
        save(f"{name}-reduce-{w}", [node("ReduceSum", "x axes", "y")], whole, dtype, [axes(1)])
    for dtype, name in [(T.INT64, "i64"), (T.INT32, "i32"), (T.UINT8, "u8"), (T.INT8, "i8"), (T.BOOL, "bool"), (T.DOUBLE, "f64")]:
        save(f"cast-to-{name}-{w}", [node("Cast", "x", "y", to=dtype)], [("x", F32, (w,))], dtype)
    for op in ["Add", "Sub", "Mul", "Div"]:
        # Two NaNs meet: one that comes in, and one that is computed.
        save(f"two-nans-{op}-{w}", [node("Sub", "x x", "n"), node("Mul", "n z", "m"), node(op, "x m", "y")], [("x", F32, (w,)), ("z", F32, (w,))])
    mixed = [node("Cast", "n", "f", to=F32), node("Concat", "x f", "c", axis=1), node("ReduceSum", "c axes", "y")]
    save(f"mixed-sum-{w}", mixed, [("x", F32, (w,)), ("n", T.INT32, (2,))], constants=[axes(1)])


def sums(w):
    x = [("x", F32, (w,))]
    for op in REDUCTIONS:
        # Since version 18 all of them take axes as an input, before it most as an attribute.
        save(f"reduce-{op}-{w}", [node(op, "x axes", "y", keepdims=1)], x, constants=[axes(1)])
    for op in WIDE:
        save(f"reduce-middle-{op}-{w}", [node(op, "x axes", "y")], [("x", F32, (w, 7))], constants=[axes(1)])
        save(f"reduce-two-{op}-{w}", [node(op, "x axes", "y", keepdims=0)], [("x", F32, (3, w))], constants=[axes(1, 2)])
        save(f"reduce-third-{op}-{w}", [node(op, "x axes", "y", keepdims=0)], [("x", F32, (3, w))], constants=[axes(2)])
        save(f"reduce-batch-{op}-{w}", [node(op, "x axes", "s"), node("Add", "x s", "y")], x, constants=[axes(0)])
        # A dimension of one element behind it: the sum goes over what lies side by side.
        save(f"reduce-before-one-{op}-{w}", [node(op, "x axes", "y")], [("x", F32, (w, 1))], constants=[axes(1)])
    for op in ["ReduceMean", "ReduceMax"]:
        save(f"reduce-old-{op}-{w}", [node(op, "x", "y", axes=[1])], x, opset=13)


def transposed(w):
    """ONNX Runtime moves transpositions past other nodes, which then go along other dimensions."""
    rows, four = [("x", F32, (w, 7))], [("x", F32, (3, w, 2))]
    swap = node("Transpose", "x", "t", perm=[0, 2, 1])
    for op in WIDE:
        save(f"transposed-{op}-{w}", [swap, node(op, "t axes", "y")], rows, constants=[axes(-1)])
        save(f"transposed-middle-{op}-{w}", [swap, node(op, "t axes", "y", keepdims=0)], rows, constants=[axes(1)])
        between = [swap, node("Exp", "t", "e"), node(op, "e axes", "r"), node("Transpose", "r", "y", perm=[0, 2, 1])]
        save(f"transposed-back-{op}-{w}", between, rows, constants=[axes(-1)])
        keeps = [node("Transpose", "x", "t", perm=[0, 2, 1, 3]), node(op, "t axes", "y")]
        save(f"transposed-others-{op}-{w}", keeps, four, constants=[axes(-1)])
        squeezed = [swap, node("Unsqueeze", "t axes", "u"), node(op, "u last", "r"), node("Transpose", "r", "y", perm=[0, 3, 2, 1])]
        save(f"transposed-unsqueezed-{op}-{w}", squeezed, rows, constants=[axes(1), axes(-1, name="last")])
        first = [node("Transpose", "x", "t", perm=[1, 0, 2]), node(op, "t axes", "r"), node("Transpose", "r", "y", perm=[1, 0, 2])]
        save(f"transposed-batch-{op}-{w}", first, [("x", F32, (5, w))], constants=[axes(-1)])
    for op in ["Sin", "Elu", "Softmax"]:
        parts = [node("Transpose", "x", "t", perm=[1, 0, 2]), node(op, "t", "e"), node("Transpose", "e", "y", perm=[1, 0, 2])]
        save(f"transposed-batch-{op}-{w}", parts, [("x", F32, (5, w))])


def norms(w):
    x = [("x", F32, (w,))]
    for op in ["Softmax", "LogSoftmax"]:
        save(f"norm-{op}-{w}", [node(op, "x", "y", axis=-1)], x)
        save(f"norm-{op}-middle-{w}", [node(op, "x", "y", axis=1)], [("x", F32, (w, 5))])
    scale = [weights("g", w), weights("b", w)]
    save(f"layer-norm-{w}", [node("LayerNormalization", "x g b", "y", axis=-1)], x, constants=scale)
    save(f"rms-norm-{w}", [node("RMSNormalization", "x g", "y", axis=-1)], x, constants=scale[:1], opset=23, ir_version=11)
    save(f"lp-norm-{w}", [node("LpNormalization", "x", "y", axis=-1, p=2)], x)
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
    save(f"layer-norm-by-hand-{w}", by_hand, x, constants=[axes(-1), constant("e", np.float32(1e-5)), *scale])
    image = [("x", F32, (3, w, 5))]
    three = [weights(name, 3) for name in "gb"]
    save(f"instance-norm-{w}", [node("InstanceNormalization", "x g b", "y")], image, constants=three)
    four = [weights(name, 4) for name in "gb"]
    save(f"group-norm-{w}", [node("GroupNormalization", "x g b", "y", num_groups=2)], [("x", F32, (4, w))], constants=four)
    save(f"lrn-{w}", [node("LRN", "x", "y", size=3)], [("x", F32, (6, w, 5))])
    moments = [constant("m", np.zeros(3, np.float32)), constant("v", np.array([0.5, 1, 2], np.float32))]
    save(f"batch-norm-{w}", [node("BatchNormalization", "x g b m v", "y")], image, constants=[*three, *moments])


def moves(w):
    x = [("x", F32, (w,))]
    picks = [
        node("CumSum", "x one", "c"),
        node("ArgMax", "x", "m", axis=1, keepdims=1),
        node("GatherElements", "c m", "g", axis=1),
        node("TopK", "x k", "v i", axis=1),
        node("Concat", "c g v", "y", axis=1),
    ]
    save(f"picks-{w}", picks, x, constants=[constant("one", np.int64(1)), constant("k", np.array([1]))])
    cuts = [
        node("Pad", "x pads", "p"),
        node("Slice", "p zero two one", "s"),
        node("Concat", "p s x", "q", axis=1),
        node("Tile", "q twice", "t"),
        node("Sin", "t", "y"),
    ]
    numbers = [constant("pads", np.array([0, 1, 0, 2])), constant("twice", np.array([1, 2]))]
    numbers += [constant(name, np.array([n])) for name, n in [("zero", 0), ("one", 1), ("two", 2)]]
    save(f"cuts-{w}", cuts, x, constants=numbers)
    hot = [
        node("OneHot", "i depth values", "o", axis=-1),
        node("Gather", "table i", "e"),
        node("MatMul", "o w", "m"),
        node("Add", "m e", "y"),
    ]
    numbers = [constant("depth", np.int64(50)), constant("values", np.array([0, 1], np.float32))]
    save(f"one-hot-{w}", hot, [("i", T.INT64, (w,))], constants=[*numbers, weights("table", 50, 6), weights("w", 50, 6)])
    # The number of rows sizes a tensor: what is expanded to it, and reshaped by it.
    sized = [
        node("Shape", "x", "all"),
        node("Gather", "all first", "rows"),
        node("Concat", "rows size", "shape", axis=0),
        node("Expand", "c shape", "e"),
        node("Reshape", "x shape", "r"),
        node("Add", "e r", "y"),
    ]
    numbers = [constant("first", np.array([0])), constant("size", np.array([1, w])), weights("c", w)]
    save(f"sized-{w}", sized, x, constants=numbers)
    # As exporters write it: all rows, by a bound that no batch has.
    whole = [node("Slice", "x from to", "s"), node("Exp", "s", "y")]
    save(f"slice-all-{w}", whole, x, constants=[constant("from", np.array([0, 0])), constant("to", np.array([10**9] * 2))])
    doubled = [node("Concat", "x x", "c", axis=0), node("ReduceSum", "c axes", "s"), node("Add", "x s", "y")]
    save(f"concat-batch-{w}", doubled, x, constants=[axes(0)])


def products(w):
    x = [("x", F32, (w,))]
    for n in [1, 5, 8, 33]:
        save(f"mat-mul-{w}-{n}", [node("MatMul", "x w", "y")], x, constants=[weights("w", w, n)])
        gemm = [weights("w", n, w), weights("b", n)]
        save(f"gemm-{w}-{n}", [node("Gemm", "x w b", "g", transB=1), node("Relu", "g", "y")], x, constants=gemm)
        save(f"mat-mul-of-rows-{w}-{n}", [node("MatMul", "x w", "y")], [("x", F32, (3, w)), ("w", F32, (w, n))])
        save(f"mat-mul-of-row-{w}-{n}", [node("MatMul", "x w", "y")], [("x", F32, (1, w)), ("w", F32, (w, n))])
        # Weights that nobody knows before the first run.
        computed = [
            node("Shape", "x", "all", start=1, end=2),
            node("Cast", "all", "f", to=F32),
            node("Mul", "f zero", "z"),
            node("Add", "w z", "v"),
            node("MatMul", "x v", "y"),
        ]
        save(f"mat-mul-computed-{w}-{n}", computed, x, constants=[weights("w", w, n), constant("zero", np.float32(0))])
    save(f"mat-mul-3d-{w}", [node("MatMul", "x w", "y")], [("x", F32, (3, w))], constants=[weights("w", w, 9)])
    save(f"einsum-{w}", [node("Einsum", "x w", "y", equation="ni,ij->nj")], x, constants=[weights("w", w, 9)])
    save(f"einsum-rows-{w}", [node("Einsum", "x z", "y", equation="nij,njk->nik")], [("x", F32, (3, w)), ("z", F32, (w, 5))])
    save(f"einsum-dot-{w}", [node("Einsum", "x z", "y", equation="ni,ni->n")], [*x, ("z", F32, (w,))])
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
    one = [node("Attention", "x x x", "y", q_num_heads=2, kv_num_heads=2)]
    save(f"attention-operator-{w}", one, [("x", F32, (6, 2 * w))], opset=24, ir_version=11)
    decode = [node("Transpose", "k", "kt", perm=[0, 2, 1]), *attention[4:]]
    save(f"attention-decode-{w}", [node("Identity", "x", "q"), *decode], [("x", F32, (1, w)), ("k", F32, (9, w)), ("v", F32, (9, w))])


def quantised(w):
    x, whole = [("x", F32, (w,))], constant("wq", RANDOM.integers(-127, 127, (w, 9)).astype(np.int8))
    dynamic = [
        node("DynamicQuantizeLinear", "x", "q s z"),
        node("MatMulInteger", "q wq z", "i"),
        node("Cast", "i", "f", to=F32),
        node("Mul", "f s", "a"),
        node("Mul", "a sw", "y"),
    ]
    save(f"dynamic-int8-{w}", dynamic, x, constants=[whole, constant("sw", np.float32(0.01))])
    save(f"mat-mul-integer-{w}", [node("MatMulInteger", "q wq", "y")], [("q", T.UINT8, (w,))], T.INT32, [whole])
    static = [
        node("QuantizeLinear", "x sx zx", "xq"),
        node("DequantizeLinear", "xq sx zx", "xd"),
        node("DequantizeLinear", "wq sw zw", "wd"),
        node("MatMul", "xd wd", "m"),
        node("QuantizeLinear", "m sy zx", "mq"),
        node("DequantizeLinear", "mq sy zx", "y"),
    ]
    scales = [constant(name, np.float32(n)) for name, n in [("sx", 0.02), ("sw", 0.01), ("sy", 0.05)]]
    zeros = [constant("zx", np.int8(0)), constant("zw", np.int8(0))]
    save(f"static-int8-{w}", static, x, constants=[whole, *scales, *zeros])


def images(w):
    image = [("x", F32, (3, w, 5))]
    conv = [weights("w", 8, 3, 3, 3), weights("b", 8)]
    for op in ["Relu", "Sigmoid", "Elu", "Sin"]:
        save(f"conv-{op}-{w}", [node("Conv", "x w b", "c", pads=[1] * 4), node(op, "c", "y")], image, constants=conv)
    two = [node("Conv", "x w b", "a", pads=[1] * 4), node("Relu", "a", "r"), node("Conv", "r v", "y")]
    sixteen = [weights("w", 16, 16, 3, 3), weights("b", 16), weights("v", 16, 16, 1, 1)]
    save(f"conv-16-{w}", two, [("x", F32, (16, w, 5))], constants=sixteen)
    save(f"conv-1d-{w}", [node("Conv", "x w b", "y", pads=[1, 1])], [("x", F32, (3, w))], constants=[weights("w", 5, 3, 3), weights("b", 5)])
    deep = [node("Conv", "x w", "y", pads=[1] * 4, group=6)]
    save(f"conv-depth-{w}", deep, [("x", F32, (6, w, 5))], constants=[weights("w", 6, 1, 3, 3)])
    save(f"conv-transpose-{w}", [node("ConvTranspose", "x w b", "y", strides=[2, 2])], image, constants=[weights("w", 3, 4, 3, 3), weights("b", 4)])
    pools = [node("MaxPool", "x", "m", kernel_shape=[3, 3], pads=[1] * 4), node("AveragePool", "m", "a", kernel_shape=[3, 3], pads=[1] * 4)]
    save(f"pool-{w}", [*pools, node("GlobalAveragePool", "a", "g"), node("GlobalMaxPool", "x", "h"), node("Concat", "g h", "y", axis=1)], image)
    scales = constant("scales", np.array([1, 1, 2, 1.5], np.float32))
    parts = [node("Resize", "x - scales", "a", mode="linear"), node("Resize", "x - scales", "b", mode="nearest"), node("Add", "a b", "y")]
    save(f"resize-{w}", parts, image, constants=[scales])


def recurrent(w):
    for op, gates, biases in [("GRU", 3, 6), ("LSTM", 4, 8), ("RNN", 1, 2)]:
        cells = [weights("w", 1, gates * w, 8), weights("r", 1, gates * w, w), weights("b", 1, biases * w)]
        cell = node(op, "x w r b", "all y", hidden_size=w)
        save(f"{op.lower()}-{w}", [cell], [("x", F32, (4, 8))], constants=cells, batch={"x": 1})
        # A state that comes in has the batch in the second dimension, too.
        given = node(op, "x w r b - h", "all y", hidden_size=w)
        state = [("x", F32, (4, 8)), ("h", F32, (1, w))]
        save(f"{op.lower()}-state-{w}", [given], state, constants=cells, batch={"x": 1, "h": 1})
        parts = [node("Transpose", "x", "t", perm=[1, 0, 2]), node(op, "t w r b", "all s", hidden_size=w)]
        save(f"{op.lower()}-rows-first-{w}", [*parts, node("Transpose", "s", "y", perm=[1, 0, 2])], [("x", F32, (4, 8))], constants=cells)


def networks(w):
    x = [("x", F32, (w,))]
    for op in ["Relu", "Tanh", "Sin", "Mish", "Gelu", "Elu", "Softplus", "HardSwish"]:
        layers = [weights("w1", w, w), weights("b1", w), weights("w2", w, 5), weights("b2", 5)]
        perceptron = [node("Gemm", "x w1 b1", "a"), node(op, "a", "h"), node("Gemm", "h w2 b2", "l")]
        save(f"mlp-{op}-{w}", [*perceptron, node("Softmax", "l", "y", axis=1)], x, constants=layers)
        dueling = [*perceptron, node("ReduceMean", "l axes", "v"), node("Sub", "l v", "y")]
        save(f"dueling-{op}-{w}", dueling, x, constants=[*layers, axes(1)])
    net = [
        node("Conv", "x w1 b1", "a", pads=[1] * 4),
        node("Relu", "a", "r"),
        node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "p w2 b2", "c", pads=[1] * 4),
        node("Relu", "c", "r2"),
        node("GlobalAveragePool", "r2", "g"),
        node("Flatten", "g", "f"),
        node("Gemm", "f w3 b3", "y"),
    ]
    layers = [weights("w1", w, 3, 3, 3), weights("b1", w), weights("w2", 16, w, 3, 3), weights("b2", 16), weights("w3", 16, 5), weights("b3", 5)]
    save(f"conv-net-{w}", net, [("x", F32, (3, 12, 12))], constants=layers)


def make_large():
    """Shapes beyond the blocks in which ONNX Runtime computes."""
    for k in [129, 513]:
        for n in [1, 7, 65]:
            save(f"large-mat-mul-{k}-{n}", [node("MatMul", "x w", "y")], [("x", F32, (k,))], constants=[weights("w", k, n)])
    for w in [1001, 4097]:
        x = [("x", F32, (w,))]
        for op in ["Exp", "Tanh", "Sigmoid", "Gelu", "Sin", "Elu", "Log", "Softmax"]:
            save(f"large-{op}-{w}", [node(op, "x", "y")], x)
        for op in ["ReduceSum", "ReduceMean", "ReduceMax"]:
            save(f"large-{op}-{w}", [node(op, "x axes", "y")], x, constants=[axes(1)])
        norm = [weights("g", w), weights("b", w)]
        save(f"large-layer-norm-{w}", [node("LayerNormalization", "x g b", "y", axis=-1)], x, constants=norm)
    for group, ins, outs, k in [(1, 64, 64, 3), (1, 64, 128, 1), (64, 64, 64, 3), (1, 33, 31, 3)]:
        conv = [node("Conv", "x w b", "c", pads=[k // 2] * 4, group=group), node("Relu", "c", "y")]
        filters = [weights("w", outs, ins // group, k, k), weights("b", outs)]
        save(f"large-conv-{group}-{ins}-{outs}-{k}", conv, [("x", F32, (ins, 14, 13))], constants=filters)
    for op, gates, biases in [("GRU", 3, 6), ("LSTM", 4, 8)]:
        cells = [weights("w", 1, gates * 129, 33), weights("r", 1, gates * 129, 129), weights("b", 1, biases * 129)]
        save(f"large-{op.lower()}", [node(op, "x w r b", "all y", hidden_size=129)], [("x", F32, (7, 33))], constants=cells, batch={"x": 1})
    one = [node("Attention", "x x x", "y", q_num_heads=4, kv_num_heads=4)]
    save("large-attention", one, [("x", F32, (17, 128))], opset=24, ir_version=11)
