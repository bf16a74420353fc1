"""Checks digits-s8.onnx: its accuracy, what the readers' vote adds, and that results are bit-equal.

Ends with status 1 and a message if anything differs from what the README promises.
"""

import hashlib
import itertools
import json
import sys

sys.dont_write_bytecode = True

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

import train

SMUDGE_RATE = 1 / 32  # readers 1 and 2 see each pixel as 0 with this probability
VOTE_RUNS = 200


def need(holds, what):
    print(("ok      " if holds else "FAILED  ") + what)
    if not holds:
        sys.exit(1)


def session(threads):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return ort.InferenceSession(train.MODEL_FILE, options, providers=["CPUExecutionProvider"])


def vote(answers):
    """Majority of three answers; where all three differ the clean view (the first) decides."""
    clean, left, right = answers
    return np.where(left == right, left, clean)


def main():
    need(ort.__version__ == "1.31.1", f"ONNX Runtime is 1.31.1 (here {ort.__version__})")
    images, labels = train.load_digits()
    train_part, held_out = train.split(labels)
    stored = json.loads(train.SPLIT_FILE.read_text())
    need(stored["train"] == train_part.tolist(), "split.json has this seed's training part")
    need(stored["held_out"] == held_out.tolist(), "split.json has this seed's held-out part")
    need(not set(stored["train"]) & set(stored["held_out"]), "the two parts share no image")
    distinct = {images[i].tobytes() for i in train_part}
    need(not any(images[i].tobytes() in distinct for i in held_out), "nor do they share equal pixels")

    content = train.MODEL_FILE.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    print(f"        {train.MODEL_FILE.name}: {len(content)} bytes, sha256 {digest}")
    readme = (train.HERE / "README.md").read_text()
    need(digest in readme, "the README names this sha256")
    constants = {c.name: numpy_helper.to_array(c) for c in onnx.load(train.MODEL_FILE).graph.initializer}
    parameters = [constants[name] for name in ("w1", "b1", "w2", "b2")]
    need(all(np.abs(p).max() <= train.WEIGHT_MAX for p in parameters[::2]), "weights use 7 bits")
    # The model casts its first sum to f32, which holds integers up to 2^24 exactly. Inputs are i8.
    bound = 128 * np.abs(parameters[0].astype(int)).sum(axis=0) + np.abs(parameters[1])
    need(bound.max() < 2**24, f"first sums stay exact in f32 for any i8 input (at most {bound.max()})")

    one, two = session(1), session(2)
    for s in (one, two):
        (given,), (made,) = s.get_inputs(), s.get_outputs()
        need(
            (given.name, given.type, given.shape) == ("image", "tensor(int8)", ["batch", 64])
            and (made.name, made.type, made.shape) == ("logits", "tensor(int32)", ["batch", 10]),
            "image i8[batch,64] to logits i32[batch,10]",
        )

    rng = np.random.Generator(np.random.PCG64(7))
    extremes = rng.choice(np.array([-128, 0, 16, 127], np.int8), size=(500, 64))
    noise = rng.integers(-128, 128, size=(500, 64), dtype=np.int8)
    for name, x in [("all digits", images), ("random i8", noise), ("extreme i8", extremes)]:
        want = train.integer_logits(parameters, x)
        need(np.array_equal(one.run(None, {"image": x})[0], want), f"{name}: equal to numpy integers")
        need(np.array_equal(two.run(None, {"image": x})[0], want), f"{name}: 2 threads as 1 thread")
        for s, threads in ((one, 1), (two, 2)):
            alone = np.concatenate([s.run(None, {"image": row[None]})[0] for row in x])
            need(np.array_equal(alone, want), f"{name}: alone as in the batch, {threads} thread(s)")
            order = rng.permutation(len(x))
            mixed = s.run(None, {"image": x[order]})[0]
            need(np.array_equal(mixed, want[order]), f"{name}: permuted, {threads} thread(s)")
            sizes = [s.run(None, {"image": x[:n]})[0] for n in range(1, 66)]
            need(
                all(np.array_equal(a, want[: len(a)]) for a in sizes),
                f"{name}: batches of 1 to 65, {threads} thread(s)",
            )
    all_logits = one.run(None, {"image": images})[0].astype("<i4").tobytes()
    need(hashlib.sha256(all_logits).hexdigest() in readme, "the README names the sha256 of all logits")

    def answer(x):
        return one.run(None, {"image": x})[0].argmax(axis=1)

    x, y = images[held_out], labels[held_out]
    clean = answer(x)
    wrong = int((clean != y).sum())
    print(f"        clean read: {len(y) - wrong} of {len(y)}, {100 * (1 - wrong / len(y)):.2f} %")
    need(wrong / len(y) < 0.035, "a single clean read is right in more than 96.5 %")

    single, voted, split_votes, no_majority = [], [], [], []
    for _ in range(VOTE_RUNS):
        views = [x, x.copy(), x.copy()]
        for view in views[1:]:
            view[rng.random(view.shape) < SMUDGE_RATE] = 0
        answers = [clean, answer(views[1]), answer(views[2])]
        single += [(a == y).mean() for a in answers[1:]]
        voted.append((vote(answers) == y).mean())
        split_votes.append(np.mean(~((answers[0] == answers[1]) & (answers[1] == answers[2]))))
        different = [a != b for a, b in itertools.combinations(answers, 2)]
        no_majority.append(np.logical_and.reduce(different).sum())
    for name, values in [("smudged read", single), ("vote of three", voted)]:
        values = 100 * np.array(values)
        print(f"        {name}: mean {values.mean():.2f} %, lowest {values.min():.2f} %, "
              f"highest {values.max():.2f} % in {VOTE_RUNS} runs")
    print(f"        votes not unanimous: {100 * np.mean(split_votes):.2f} %; "
          f"without majority: {np.mean(no_majority):.2f} images per run of {len(y)}, "
          f"at most {max(no_majority)}")
    need(min(voted) > 0.96, "the vote of three is right in more than 96 %, in every run")


if __name__ == "__main__":
    main()
