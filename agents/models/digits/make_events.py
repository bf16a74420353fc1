"""Writes the scans and labels of the postroom scenario, from held-out images only."""

import json
import sys

sys.dont_write_bytecode = True

import numpy as np

import train

EVENTS_FILE = train.HERE.parents[1] / "scenarios" / "postroom" / "scans.jsonl"
ORDER_SEED = 3
DESKS = 8
SCAN, LABEL = 1, 2  # message kinds


def main():
    images, labels = train.load_digits()
    # The committed split, not a fresh one: these are the images the committed model never saw.
    held_out = json.loads(train.SPLIT_FILE.read_text())["held_out"]
    order = np.random.Generator(np.random.PCG64(ORDER_SEED)).permutation(held_out)
    lines = []
    for position, index in enumerate(order.tolist()):
        frame, desk = 1 + position // DESKS, position % DESKS
        pixels, label = images[index].tolist(), [int(labels[index])]
        for recipient, kind, numbers in [
            ({"topic": f"desk-{desk}"}, SCAN, pixels),
            ({"to": "ledger/0"}, LABEL, label),
        ]:
            event = {"frame": frame, **recipient, "kind": kind, "correlation": index}
            lines.append(json.dumps({**event, "type": "u8", "numbers": numbers}, separators=(",", ":")))
    EVENTS_FILE.parent.mkdir(parents=True, exist_ok=True)
    EVENTS_FILE.write_text("\n".join(lines) + "\n", newline="\n")
    print(f"{EVENTS_FILE.name}: {len(lines)} events, {len(order)} scans in frames 1 to {frame}")


if __name__ == "__main__":
    main()
