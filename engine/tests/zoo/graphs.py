"""Random graphs of the operators that were tested, 210 of them. Called by `make.py`."""

import random

import numpy as np

from common import F32, axes, constant, node, save, weights

CLEAN = "Abs Neg Erf Gelu HardSwish HardSigmoid Relu LeakyRelu Sigmoid Tanh Softsign Round Asinh".split()
TAIL = "Sin Cos Atan Elu Selu Celu Mish Softplus".split()


class Graph:
    """`kind` 1 has operators that were clean in any batch, 2 also those with tails, 3 also sums over rows of any width."""

    def __init__(self, seed, kind):
        self.random = random.Random(seed * 10 + kind)
        self.kind = kind
        self.nodes, self.values = [], []
        self.constants = [constant("one", np.float32(1)), constant("low", np.float32(-50)), constant("high", np.float32(50)), axes(1)]
        self.count = 0

    def name(self):
        self.count += 1
        return f"t{self.count}"

    def add(self, op, inputs, **attributes):
        out = self.name()
        self.nodes.append(node(op, inputs, out, **attributes))
        return out

    def weights(self, *shape):
        name = self.name()
        self.constants.append(weights(name, *shape))
        return name

    def activation(self, value):
        return self.add(self.random.choice(CLEAN + (TAIL * 2 if self.kind > 1 else [])), value)

    def image(self):
        channels = self.random.choice([1, 3, 4, 7, 16])
        inputs, value = [("x", F32, (channels, 6, 5))], "x"
        for _ in range(self.random.randint(1, 2)):
            wider = self.random.choice([3, 5, 8, 16, 17])
            value = self.activation(self.add("Conv", f"{value} {self.weights(wider, channels, 3, 3)}", pads=[1] * 4))
            channels = wider
        if self.random.random() < 0.5:
            value, width = self.add("GlobalAveragePool", value), channels
        else:
            width = channels * 30
        self.values.append((self.add("Flatten", value), width))
        return inputs

    def step(self):
        draw = self.random.random()
        value, width = self.random.choice(self.values[-4:])
        if draw < 0.3:
            wider = self.random.choice([1, 2, 3, 5, 7, 8, 16, 17, 33, 64])
            return self.add("MatMul", f"{value} {self.weights(width, wider)}"), wider
        if draw < 0.6:
            return self.activation(value), width
        if draw < 0.7:
            other, more = self.random.choice(self.values)
            return self.add("Concat", f"{value} {other}", axis=1), width + more
        if draw < 0.77:
            return self.add(self.random.choice(["Softmax", "LogSoftmax"]), value, axis=-1), width
        if draw < 0.84:
            return self.add("LayerNormalization", f"{value} {self.weights(width)} {self.weights(width)}", axis=-1), width
        if draw < 0.92:
            sums = ["ReduceL2", "ReduceLogSumExp", "ReduceSumSquare"] + (["ReduceSum", "ReduceMean", "ReduceMax"] if self.kind > 2 else [])
            total = self.add("Abs", self.add(self.random.choice(sums), f"{value} axes"))
            return self.add("Div", f"{value} {self.add('Add', f'{total} one')}"), width
        if self.kind > 1 and draw < 0.95:
            return self.add("Clip", f"{value} low high"), width
        other = self.random.choice([name for name, size in self.values if size == width])
        return self.add(self.random.choice(["Add", "Mul", "Sub"] + (["Max"] if self.kind > 1 else [])), f"{value} {other}"), width

    def make(self, name):
        if self.random.random() < 0.35:
            inputs = self.image()
        else:
            width = self.random.choice([1, 3, 5, 7, 16, 17, 33, 64, 100])
            inputs = [("x", F32, (width,))]
            self.values.append(("x", width))
        for _ in range(self.random.randint(6, 14)):
            self.values.append(self.step())
        self.nodes[-1].output[0] = "y"
        used = {name for made in self.nodes for name in made.input}
        save(name, self.nodes, inputs, constants=[given for given in self.constants if given.name in used])


def make():
    for kind in (1, 2, 3):
        for seed in range(70):
            Graph(seed, kind).make(f"random-{kind}-{seed}")
