"""Digests of arrays and names, by which a run is known again."""

from __future__ import annotations

import hashlib

import numpy as np


def array_digest(array: np.ndarray) -> str:
    """Return a SHA-256 digest of type, shape and values; a memory map is read in parts."""
    digest = hashlib.sha256(f"{array.dtype}{array.shape}".encode())
    for start in range(0, len(array), 256):
        part = array[start : start + 256]
        digest.update(repr(part.tolist()).encode() if part.dtype == object else part.tobytes())
    return digest.hexdigest()


def names_digest(names: np.ndarray) -> str:
    """Return a SHA-256 digest of labels or groups ``(n,)``, equal whatever array type has them.

    Strings come as ``<U4``, as ``<U5`` beside a longer one, or as objects from a data frame.
    """
    plain = (name.item() if isinstance(name, np.generic) else name for name in names.tolist())
    return hashlib.sha256(repr(list(plain)).encode()).hexdigest()
