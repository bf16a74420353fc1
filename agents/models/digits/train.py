"""Trains the digit classifier of the postroom scenario and writes digits-s8.onnx and split.json.

The same bytes come out of every run, on every CPU. Three rules make that so:

* Every matrix product multiplies numbers on a fixed-point grid whose exact sum fits the 53 bits of
  a float64. Such a product has no rounding, so neither the order of additions nor fused
  multiply-adds (which differ between BLAS kernels and between thread counts) can change it.
* Everything else is elementwise +, -, *, / or sqrt, which IEEE 754 rounds in one way only. There is
  no exp or log: the loss is the squared hinge.
* Random numbers are seeded and uniform, made from PCG64's bits alone.

The network is trained as it will run (quantisation-aware): the forward pass below is the integer
network itself, and gradients pass straight through its rounding.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
MODEL_FILE = HERE / "digits-s8.onnx"
SPLIT_FILE = HERE / "split.json"

SPLIT_SEED = 20240501
TRAIN_SEED = 1
HELD_OUT = 600

PIXELS, HIDDEN, CLASSES = 64, 256, 10

# Weights use 7 of the 8 bits. CPUs without dot-product instructions add two u8 x s8 products in a
# saturating 16-bit register: 2 * 255 * 64 = 32640 still fits there, 2 * 255 * 127 would not.
WEIGHT_MAX = 63

# Requantisation divides by a power of two, so the only rounding in the model is the explicit Round.
HIDDEN_SHIFT = 5
LOGIT_SHIFT = 13  # only the loss sees it: it says how many logit units make a margin of 1

# Chosen by 4-fold cross-validation inside the training part; the held-out part had no say.
EPOCHS = 400
BATCH = 63  # 1,197 training images are 19 batches of 63
LEARNING_RATE = 0.5  # in units of one weight step
SHIFT_RATE = 0.3  # share of training images moved by up to one pixel
ERASE_RATE = 1 / 16  # share of pixels set to 0 in a training image; the readers' views use 1/32
GRADIENT_GRID = 2.0**-20


def load_digits():
    """The images as int8 [1797, 64], pixels 0..16, and the labels as int64 [1797]."""
    from sklearn.datasets import load_digits as load

    data = load()
    images = data.data.astype(np.int8)
    assert images.shape == (1797, PIXELS) and images.min() == 0 and images.max() == 16
    assert np.array_equal(images, data.data)
    return images, data.target.astype(np.int64)


def split(labels):
    """Indices of the training and the held-out images, both sorted, with equal shares of each digit."""
    from sklearn.model_selection import train_test_split

    train, held_out = train_test_split(
        np.arange(len(labels)), test_size=HELD_OUT, stratify=labels, random_state=SPLIT_SEED
    )
    return np.sort(train), np.sort(held_out)


def augment(images, rng):
    """Moves some images by up to one pixel each way and erases some pixels."""
    count = len(images)
    padded = np.zeros((count, 10, 10))
    padded[:, 1:9, 1:9] = images.reshape(count, 8, 8)
    moves = rng.integers(0, 3, size=(count, 2))
    moves[rng.random(count) >= SHIFT_RATE] = 1  # 1 is the unmoved position
    rows = moves[:, 0, None] + np.arange(8)
    columns = moves[:, 1, None] + np.arange(8)
    moved = padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    moved = moved.reshape(count, PIXELS)
    moved[rng.random((count, PIXELS)) < ERASE_RATE] = 0
    return moved


def quantised(latent):
    """The integer parameters (as float64) that a float parameter set stands for."""
    return [np.round(p) for p in latent]


def train(images, labels, seed=TRAIN_SEED, epochs=EPOCHS):
    """Returns w1 int8 [64, HIDDEN], b1 int32 [HIDDEN], w2 int8 [HIDDEN, 10], b2 int32 [10]."""
    rng = np.random.Generator(np.random.PCG64(seed))
    images = images.astype(np.float64)
    targets = np.where(labels[:, None] == np.arange(CLASSES), 1.0, -1.0)

    shapes = [(PIXELS, HIDDEN), (HIDDEN,), (HIDDEN, CLASSES), (CLASSES,)]
    # A bias moves its sum as much as a weight whose input is this large, so it takes larger steps.
    step_sizes = [1.0, 16.0, 1.0, 64.0]
    limits = [WEIGHT_MAX, 2.0**15, WEIGHT_MAX, 2.0**20]
    latent = [rng.random(s) * 40 - 20 if len(s) == 2 else np.zeros(s) for s in shapes]
    mean = [p.copy() for p in latent]  # running mean of the parameters: this is what is kept
    first = [np.zeros(s) for s in shapes]  # Adam's moments
    second = [np.zeros(s) for s in shapes]
    beta1, beta2, keep = 0.9, 0.99, 0.998
    power1 = power2 = 1.0

    batches = len(images) // BATCH
    steps = epochs * batches
    step = 0
    for _ in range(epochs):
        order = rng.permutation(len(images))
        for part in range(batches):
            chosen = order[part * BATCH : (part + 1) * BATCH]
            x = augment(images[chosen], rng)
            w1, b1, w2, b2 = quantised(latent)

            before = np.round((x @ w1 + b1) * 2.0**-HIDDEN_SHIFT)
            hidden = np.clip(before, 0, 127)
            margin = (hidden @ w2 + b2) * 2.0**-LOGIT_SHIFT * targets[chosen]

            # Squared hinge. The clip and the grid keep all products below exact: 26 bits here,
            # 6 of weight, 4 for the sum over classes, 5 of pixel, 6 for the sum over the batch.
            slack = np.minimum(np.maximum(1.0 - margin, 0.0), 32.0)
            d_logits = np.round(-targets[chosen] * slack / GRADIENT_GRID) * GRADIENT_GRID
            d_before = (d_logits @ w2.T) * ((before > 0) & (before < 127))
            gradients = [x.T @ d_before, d_before.sum(axis=0), hidden.T @ d_logits, d_logits.sum(axis=0)]

            power1 *= beta1
            power2 *= beta2
            rate = LEARNING_RATE * (1.0 - step / steps)
            for i, gradient in enumerate(gradients):
                first[i] = beta1 * first[i] + (1 - beta1) * gradient
                second[i] = beta2 * second[i] + (1 - beta2) * gradient * gradient
                direction = (first[i] / (1 - power1)) / (np.sqrt(second[i] / (1 - power2)) + 1e-6)
                latent[i] = np.clip(latent[i] - rate * step_sizes[i] * direction, -limits[i], limits[i])
                mean[i] = keep * mean[i] + (1 - keep) * latent[i]
            step += 1

    types = [np.int8, np.int32, np.int8, np.int32]
    return [p.astype(t) for p, t in zip(quantised(mean), types)]


def integer_logits(parameters, images):
    """The model in integers only, as a reference: images int8 [n, 64] to logits int32 [n, 10]."""
    w1, b1, w2, b2 = (p.astype(np.int64) for p in parameters)
    total = images.astype(np.int64) @ w1 + b1
    # Division by 2^HIDDEN_SHIFT, rounded half to even as ONNX's Round does.
    whole = total >> HIDDEN_SHIFT
    rest = total - (whole << HIDDEN_SHIFT)
    half = 1 << (HIDDEN_SHIFT - 1)
    whole += (rest > half) | ((rest == half) & (whole % 2 == 1))
    return (np.clip(whole, 0, 127) @ w2 + b2).astype(np.int32)


def write_model(parameters, path):
    """Writes the ONNX file. Floats appear elementwise only; both sums are int8 x int8 to int32."""
    from onnx import TensorProto, checker, helper, numpy_helper

    w1, b1, w2, b2 = parameters
    constants = {
        "w1": w1,
        "b1": b1,
        "scale": np.float32(2.0**-HIDDEN_SHIFT),
        "low": np.float32(0),
        "high": np.float32(127),
        "w2": w2,
        "b2": b2,
    }
    nodes = [
        helper.make_node("MatMulInteger", ["image", "w1"], ["sum1"]),
        helper.make_node("Add", ["sum1", "b1"], ["biased1"]),
        helper.make_node("Cast", ["biased1"], ["biased1_f32"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["biased1_f32", "scale"], ["scaled"]),
        helper.make_node("Round", ["scaled"], ["rounded"]),
        helper.make_node("Clip", ["rounded", "low", "high"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["hidden"], to=TensorProto.INT8),
        helper.make_node("MatMulInteger", ["hidden", "w2"], ["sum2"]),
        helper.make_node("Add", ["sum2", "b2"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "digits-s8",
        [helper.make_tensor_value_info("image", TensorProto.INT8, ["batch", PIXELS])],
        [helper.make_tensor_value_info("logits", TensorProto.INT32, ["batch", CLASSES])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="digits/train.py",
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 17)],
        doc_string="Handwritten digits, 8x8 pixels of 0..16. Data: E. Alpaydin and C. Kaynak, Optical "
        "Recognition of Handwritten Digits, 1998, doi 10.24432/C50P49, CC BY 4.0.",
    )
    checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def main():
    images, labels = load_digits()
    train_part, held_out = split(labels)
    text = {"seed": SPLIT_SEED, "train": train_part.tolist(), "held_out": held_out.tolist()}
    SPLIT_FILE.write_text(json.dumps(text, separators=(",", ":")) + "\n", newline="\n")

    parameters = train(images[train_part], labels[train_part])
    write_model(parameters, MODEL_FILE)

    for name, part in [("train", train_part), ("held out", held_out)]:
        right = integer_logits(parameters, images[part]).argmax(axis=1) == labels[part]
        print(f"{name}: {right.sum()} of {len(part)} right, {100 * right.mean():.2f} %")
    content = MODEL_FILE.read_bytes()
    print(f"{MODEL_FILE.name}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
