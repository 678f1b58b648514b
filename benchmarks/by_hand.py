"""VGG-16, its augmentation and Grad-CAM written by hand in PyTorch: what detl is measured against.

The network and the changes of the images are those of :func:`detl.backbones.vgg16` and of
:class:`detl.Augmentation`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions


def vgg16(pixels: int, width: float, n_classes: int) -> nn.Sequential:
    """Return VGG-16 with batch normalisation, for images of one channel in [-1, 1]."""
    parts: list[nn.Module] = []
    channels = 1
    for wide, depth in BLOCKS:
        for _ in range(depth):
            scaled = round(wide * width)
            parts += [
                nn.Conv2d(channels, scaled, 3, padding=1, bias=False),
                nn.BatchNorm2d(scaled),
                nn.ReLU(True),
            ]
            channels = scaled
        parts.append(nn.MaxPool2d(2))
    parts.append(nn.Flatten())
    features = channels * (pixels // 32) ** 2
    for _ in range(2):
        hidden = round(4096 * width)
        parts += [nn.Linear(features, hidden, bias=False), nn.BatchNorm1d(hidden)]
        parts += [nn.ReLU(True), nn.Dropout()]
        features = hidden
    network = nn.Sequential(*parts, nn.Linear(features, n_classes))
    return network.to(memory_format=torch.channels_last)


def augmented(images: Any, rotation: float, scaling: float) -> Any:
    """Return images ``(n, 1, height, width)`` turned, scaled and mirrored, as float32."""
    n, device = len(images), images.device
    angle = (2 * torch.rand(n, device=device) - 1) * math.radians(rotation)
    scale = 1 + (2 * torch.rand(n, device=device) - 1) * scaling
    mirror = torch.where(torch.rand(n, device=device) < 0.5, -1.0, 1.0)
    zero = torch.zeros(n, device=device)
    maps = torch.stack(
        [
            torch.stack([mirror * scale * angle.cos(), -scale * angle.sin(), zero], 1),
            torch.stack([mirror * scale * angle.sin(), scale * angle.cos(), zero], 1),
        ],
        1,
    )
    grid = nn.functional.affine_grid(maps, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(
        images.float(), grid, padding_mode="reflection", align_corners=False
    )


def heatmaps(network: nn.Sequential, images: Any) -> Any:
    """Return Grad-CAM's heatmaps of the predicted classes, ``(n, height, width)`` in [0, 1]."""
    last = max(index for index, part in enumerate(network) if isinstance(part, nn.Conv2d))
    with torch.no_grad():
        maps = network[: last + 3](images)  # after normalisation and ReLU
    maps.requires_grad_()
    network[last + 3 :](maps).amax(dim=1).sum().backward()
    weights = maps.grad.mean(dim=(2, 3), keepdim=True)
    found = (weights * maps.detach()).sum(dim=1, keepdim=True).relu()
    found = nn.functional.interpolate(found, images.shape[2:], mode="bilinear")[:, 0]
    return found / found.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
