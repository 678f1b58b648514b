"""What a network says of one batch."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Protocol

import numpy as np


class Predicts(Protocol):
    """A Keras model, or what predicts like one."""

    def predict_on_batch(self, images: Any, /) -> Any:
        """Return the outputs of a batch."""


def predict_on_batch(network: Predicts, images: Any) -> np.ndarray:
    """Return the outputs of a batch, without TensorFlow's notices of retracing.

    TensorFlow counts the traces of a piece of code, not of a network: five networks that predict a
    few batches each are five traces of Keras's prediction, and it would advise to make none in a
    loop.
    """
    logger = logging.getLogger("tensorflow")
    own = partial(_is_no_retracing)  # of this call: other threads add and remove theirs
    logger.addFilter(own)
    try:
        return np.asarray(network.predict_on_batch(in_native_order(images)))
    finally:
        logger.removeFilter(own)


def in_native_order(batch: np.ndarray) -> np.ndarray:
    """Return numbers in the byte order of the machine; JAX and PyTorch take no other.

    Files of microscopes and telescopes often keep them in the other one.
    """
    return batch.astype(batch.dtype.newbyteorder("="), copy=False)


def _is_no_retracing(record: logging.LogRecord) -> bool:
    return "triggered tf.function retracing" not in record.getMessage()
