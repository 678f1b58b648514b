"""Bring your own backbone: COVID-Net in plain Keras, pretrained and extended like any other.

Wang, Lin & Wong 2020, "COVID-Net: a tailored deep convolutional neural network design for
detection of COVID-19 cases from chest X-ray images", Scientific Reports 10: written from the
description there. What detl asks of a network is that it takes pixels in [0, 255], and that the
names of its layers begin with those of their blocks: then "last_block" finds the last.

Run: ``python -m examples.covid_net`` (phantoms, a few minutes)
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

import detl

# Units and channels of the four stages.
STAGES = ((3, 256), (4, 512), (6, 1024), (3, 2048))


def covid_net(input_shape: tuple[int, int, int], *, width: float = 1.0) -> keras.Model:
    """Build COVID-Net; ``width`` scales channels and fully connected units.

    Returns
    -------
    keras.Model
        From ``(n, height, width, channels)`` pixels in [0, 255] to ``(n, 256 * width)`` features.
    """
    images = keras.Input(input_shape, name="images")
    x = layers.Rescaling(1 / 255, name="rescaling")(images)
    x = _convolution(x, round(64 * width), 7, strides=2, name="block1_conv")
    for block, (units, channels) in enumerate(STAGES, start=2):
        x = layers.MaxPooling2D(2, padding="same", name=f"block{block}_pool")(x)
        # A stage's shortcut reaches each of its units: selective long-range connectivity.
        shortcut = _convolution(x, round(channels * width), 1, name=f"block{block}_shortcut")
        reached = [shortcut]
        for unit in range(1, units + 1):
            x = _pepx(x, round(channels * width), name=f"block{block}_unit{unit}")
            reached.append(x)
            x = layers.Add(name=f"block{block}_sum{unit}")(reached)
    x = layers.Flatten(name="flatten")(x)
    for number, units in enumerate((1024, 256), start=1):
        x = layers.Dense(round(units * width), activation="relu", name=f"dense{number}")(x)
    return keras.Model(images, x, name="covid_net")


def _pepx(x: keras.KerasTensor, channels: int, *, name: str) -> keras.KerasTensor:
    """Project, expand, look around in each channel alone, project, extend."""
    narrow = max(1, channels // 4)
    x = layers.Conv2D(narrow, 1, name=f"{name}_project1")(x)
    x = layers.Conv2D(2 * narrow, 1, name=f"{name}_expand")(x)
    x = layers.DepthwiseConv2D(3, padding="same", name=f"{name}_depthwise")(x)
    x = layers.Conv2D(narrow, 1, name=f"{name}_project2")(x)
    return _convolution(x, channels, 1, name=f"{name}_extend")


def _convolution(
    x: keras.KerasTensor, channels: int, size: int, *, name: str, strides: int = 1
) -> keras.KerasTensor:
    x = layers.Conv2D(channels, size, strides=strides, padding="same", use_bias=False, name=name)(x)
    # Few steps are made here, and the statistics of inference are to have followed by the end.
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def main() -> None:
    """Pretrain on normal and diseased phantoms, extend to four classes, and say how well."""
    classes = ("normal", "pneumonia", "other", "covid-19")
    domain = detl.datasets.make_phantoms(
        {"normal": 400, "diseased": 400}, size=96, name="source", random_state=0
    )
    target = detl.datasets.make_phantoms(
        dict.fromkeys(classes, 60), size=96, name="target", random_state=1
    )
    source = detl.pretrain(
        covid_net((96, 96, 1), width=0.125),
        domain.images,
        domain.labels,
        groups=domain.groups,
        epochs=15,
        random_state=0,
    )
    transfer = detl.DomainExtensionTransfer(source, random_state=0)
    result = detl.cross_validate(
        transfer, target.images, target.labels, groups=target.groups, random_state=0
    )
    print(result)
    transfer.fit(target.images, target.labels)
    heatmaps = detl.GradCAM(transfer)(target.images, np.array("covid-19"))
    seen = heatmaps.max(axis=(1, 2)) > 0  # the others are blank
    inside = heatmaps[seen][target.masks[seen]].mean() / heatmaps[seen].mean()
    print(f"Grad-CAM of COVID-19 is {inside:.1f} times as high inside the lesions as on the image.")


if __name__ == "__main__":
    main()
