"""Count what an epoch computes in the frozen layers and in the rest: the most that can be gained.

Multiplications and additions of convolutions and fully connected layers, for one image. Training
a layer costs its forward pass again for the gradient of its weights and, unless its inputs come
from a frozen layer, once more for that of its inputs.

Run: ``python -m benchmarks.operations``
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from benchmarks.rows import write_rows
from detl import backbones

PIXELS = 224
OUTPUT = Path("benchmarks/results/operations.csv")
GIGA = 1e9


def main() -> None:
    """Write a row per network."""
    shape = (PIXELS, PIXELS, 1)
    networks = {
        "VGG-16": backbones.vgg16(shape, normalization=None),
        "ResNet-50": backbones.resnet50(shape),
    }
    rows = []
    for name, network in networks.items():
        frozen, forward, training = operations(network)
        rows.append(
            {
                "network": name,
                "frozen layers, GFLOP": f"{frozen / GIGA:.1f}",
                "the rest forward": f"{forward / GIGA:.1f}",
                "the rest forward and back": f"{training / GIGA:.1f}",
                "times faster without the frozen layers": f"{(frozen + training) / training:.2f}",
            }
        )
        print(rows[-1])
    write_rows(OUTPUT, rows)


def operations(network: keras.Model) -> tuple[int, int, int]:
    """Return those of the frozen layers, of the others forward, and forward and back."""
    last = backbones.block_names(network)[-1]
    names = [layer.name for layer in network.layers]
    first = next(i for i, name in enumerate(names) if name.startswith(last))
    below = set(names[:first])
    frozen = forward = training = 0
    for layer in network.layers:
        mine = operations_of(layer)
        if layer.name in below:
            frozen += mine
            continue
        forward += mine
        comes_from = layer.input._keras_history.operation.name if mine else ""
        training += mine * (2 if comes_from in below else 3)
    return frozen, forward, training


def operations_of(layer: keras.layers.Layer) -> int:
    """Return those of one forward pass."""
    if not isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
        return 0
    return 2 * int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:-1]))


if __name__ == "__main__":
    main()
