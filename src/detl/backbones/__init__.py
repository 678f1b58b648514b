"""Convolutional backbones: untrained graphs with named blocks, and where to cut them.

A backbone goes from raw pixels to the features under the last fully connected layer; ``pretrain``
and ``DomainExtensionTransfer`` put that last layer on.

References
----------
Basu, Mitra, Saha 2020, "Deep Learning for Screening COVID-19 using Chest X-Ray Images", SSCI.
Krizhevsky, Sutskever, Hinton 2012, "ImageNet Classification with Deep Convolutional Neural
Networks", NeurIPS.
Simonyan, Zisserman 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
ICLR.
He, Zhang, Ren, Sun 2016, "Deep Residual Learning for Image Recognition", CVPR.
"""

from detl.backbones.applications import from_application
from detl.backbones.blocks import block_names
from detl.backbones.paper_networks import alexnet, resnet50, vgg16

__all__ = [
    "alexnet",
    "block_names",
    "from_application",
    "resnet50",
    "vgg16",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
