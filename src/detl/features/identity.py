"""Which trunk features are of: known by its layers and weights, and by what it computes."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from detl.networks.digests import graph_digest, weights_digest
from detl.networks.normalization import fused_layers
from detl.networks.probe import output_on_noise
from detl.storage.reading import read_json
from detl.storage.rounding import agree
from detl.storage.writing import write_json

_DIGITS = 16  # of each half of a name
# Names of the trunks that this process has seen, and what they compute.
_known: dict[str, dict[str, Any]] = {}


def trunk_name(trunk: keras.Model, *, settings: str = "", cache_dir: Path | None = None) -> str:
    """Return what features of this trunk are kept under, the same as that of an equal trunk.

    Equal are trunks with the same weights and configurations that compute the same on noise, to
    rounding: on another machine the last digits differ. What they compute is looked up in
    ``cache_dir``, and written down there for later processes.
    """
    # Frozen, a fused layer computes the same as Keras's own, with which networks are handed out.
    layers = weights_digest(trunk) + graph_digest(trunk, replacing=fused_layers())
    digest = hashlib.sha256((layers + settings).encode()).hexdigest()[:_DIGITS]
    computed = output_on_noise(trunk)
    for name, earlier in [*_in_folder(cache_dir, digest), *_known.items()]:
        if name.startswith(digest) and agree(earlier, computed):
            break
    else:
        name = digest + hashlib.sha256(json.dumps(computed).encode()).hexdigest()[:_DIGITS]
    _known.setdefault(name, computed)
    if cache_dir is not None and not _path(cache_dir, name).exists():
        # A folder that cannot be written to is said when the features are.
        with contextlib.suppress(OSError):
            cache_dir.mkdir(parents=True, exist_ok=True)
            write_json(_path(cache_dir, name), _known[name])
    return name


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.trunk.json"


def _in_folder(folder: Path | None, digest: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names of trunks with such layers and weights, and what they computed."""
    for path in sorted(folder.glob(_path(Path(), f"{digest}*").name)) if folder else ():
        # A damaged one is that of no trunk: its features are computed again.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            earlier = read_json(path, remedy="delete it.")
            agree(earlier, earlier)
            yield path.name.partition(".")[0], earlier
