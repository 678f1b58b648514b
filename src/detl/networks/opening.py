"""Open a model file that may be hostile: look at what it names before Keras builds anything.

Keras's own safe mode calls any function of Keras that a file names as an activation, also one that
loads a SavedModel, writes a picture or changes settings (Keras 3.15). So a file may name layers and
functions that compute, and what the caller has registered with Keras; all else is refused by name.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras.src import api_export
from keras.src.backend.common import global_state

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_SLACK = 1024**2  # bytes; states of dropout and the like are made, and not all are kept
_DISK_IS_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_LARGEST_CONFIG = 64 * 1024**2  # bytes; that of EfficientNetV2L has one million

# Where Keras keeps classes that compute and do nothing else: no code, no files.
_COMPUTING = (
    "keras.src.applications.",
    "keras.src.layers.activations.",
    "keras.src.layers.attention.",
    "keras.src.layers.convolutional.",
    "keras.src.layers.core.dense",
    "keras.src.layers.core.einsum_dense",
    "keras.src.layers.core.embedding",
    "keras.src.layers.core.identity",
    "keras.src.layers.core.input_layer",
    "keras.src.layers.core.masking",
    "keras.src.layers.core.wrapper",
    "keras.src.layers.merging.",
    "keras.src.layers.normalization.",
    "keras.src.layers.pooling.",
    "keras.src.layers.preprocessing.category_encoding",
    "keras.src.layers.preprocessing.discretization",
    "keras.src.layers.preprocessing.image_preprocessing.",
    "keras.src.layers.preprocessing.normalization",
    "keras.src.layers.preprocessing.rescaling",
    "keras.src.layers.regularization.",
    "keras.src.layers.reshaping.",
    "keras.src.layers.rnn.",
    "keras.src.constraints.",
    "keras.src.dtype_policies.",
    "keras.src.initializers.",
    "keras.src.losses.",
    "keras.src.metrics.",
    "keras.src.models.functional",
    "keras.src.models.sequential",
    "keras.src.ops.",
    "keras.src.optimizers.",
    "keras.src.random.",
    "keras.src.regularizers.",
)
# What Keras makes of an optimizer under PyTorch. It need not be at hand: the model is not compiled.
_TORCH_OPTIMIZER = re.compile(r"keras\.src\.backend\.torch\.optimizers\.torch_\w+\.[A-Z]\w+")
_FUNCTIONS = ("activations", "losses", "metrics")  # public modules of Keras
_ACTING = ("deserialize", "get", "serialize")  # of these modules
_DATA = frozenset(
    ("__bytes__", "__ellipsis__", "__keras_tensor__", "__numpy__", "__slice__", "__tensor__")
)


def open_model(path: Path) -> keras.Model:
    """Build the model of a ``.keras`` file, once all that it names is known to be harmless."""
    try:
        with zipfile.ZipFile(path) as archive:
            text = read_member(archive, _CONFIG, at_most=_LARGEST_CONFIG)
            n_bytes = _weights_in(archive, path)
            beside = sum(p.file_size for p in archive.infolist() if p.filename != _WEIGHTS)
    except (zipfile.BadZipFile, KeyError, OSError, EOFError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged or no .keras file ({error}).") from error
    if beside > _LARGEST_CONFIG:  # Keras unpacks all of it, onto the disk
        raise ValueError(f"{path} says that it unpacks to {beside:,} bytes beside its weights.")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} has a {_CONFIG} that cannot be read ({error}).") from error
    for layer, entry in _named_things(config):
        _check_allowed(entry, layer, path)
        _check_calls(entry, layer, path)
    _check_size(config, n_bytes, path)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK_IS_FULL:  # the file is not to blame
            raise OSError(
                error.errno,
                f"{path} cannot be unpacked to {tempfile.gettempdir()} ({error.strerror}); make "
                "room there, or set TMPDIR to another folder",
            ) from error
        raise ValueError(
            f"{path} describes a network that cannot be built: {str(error)[:300]}"
        ) from error
    if not isinstance(model, keras.Model):
        raise ValueError(f"{path} holds a {type(model).__name__}; expected a keras.Model.")
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(weight)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(
                f"{path} has NaN or infinity in {weight.path!r}; its training may have diverged. "
                "Train it again, with a lower learning rate."
            )
    return model


def read_member(archive: zipfile.ZipFile, name: str, *, at_most: int) -> bytes:
    """Return a file of an archive, refusing one that says that it is larger than ``at_most``."""
    size = archive.getinfo(name).file_size  # Python reads no more than this
    if size > at_most:
        raise ValueError(
            f"{archive.filename} has a {name} of {size:,} bytes; expected at most {at_most:,}. "
            "The file is damaged, or made to fill the memory."
        )
    return archive.read(name)


def _named_things(config: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what Keras would look up by name, with the layer that names it."""
    stack = [(config, "")]
    while stack:
        value, layer = stack.pop()
        if isinstance(value, list):
            stack.extend((part, layer) for part in value)
        elif isinstance(value, dict):
            if "class_name" in value:
                name = value.get("name")
                inner = value.get("config")
                if name is None and isinstance(inner, dict):
                    name = inner.get("name")
                layer = name if isinstance(name, str) else layer
                yield layer, value
            stack.extend((part, layer) for part in value.values())


def _check_allowed(entry: Mapping[str, Any], layer: str, path: Path) -> None:
    kind, module, registered = (
        entry.get(key) for key in ("class_name", "module", "registered_name")
    )
    is_function = kind == "function"
    name = entry.get("config") if is_function else kind
    if isinstance(name, str) and (
        name in _DATA
        or _is_registered(name if is_function else registered)
        or (is_function and _is_function(module, name))
        or (not is_function and _is_computing(module, name))
    ):
        if any(mark in layer for mark in "/\\") or layer in (".", ".."):
            raise ValueError(f"{path} has a layer named {layer!r}, which is a path; refused.")
        return
    said = f"{module}.{name}" if module else name
    advice = (
        "register it (keras.saving.register_keras_serializable) before the file is read"
        if not str(module).startswith(("keras", "builtins"))
        else "it may read files or run code"
    )
    raise ValueError(
        f"{path} is not opened: its layer {layer!r} names {said!r}, which is not allowed in a "
        f"file; {advice}. If you trust the file, load it with keras.saving.load_model(path, "
        "safe_mode=False) and pass that as the source."
    )


def _check_calls(entry: Mapping[str, Any], layer: str, path: Path) -> None:
    """Refuse a call on numbers in the file: Keras would compute it while it reads."""
    calls = entry.get("inbound_nodes") or []
    for call in calls if isinstance(calls, list) else [calls]:
        names = [part.get("class_name") for _, part in _named_things(call)]
        if "__keras_tensor__" not in names:
            raise ValueError(
                f"{path} is not opened: its layer {layer!r} is called on no tensor of the network; "
                "the file is damaged, or made to compute while it is read."
            )


def _is_registered(name: Any) -> bool:
    return isinstance(name, str) and keras.saving.get_registered_object(name) is not None


def _is_function(module: Any, name: str) -> bool:
    """Whether it is a function of Keras that computes something from its arguments."""
    if name in _ACTING or not name.isidentifier():
        return False
    places = (
        _FUNCTIONS
        if module == "builtins"
        else [place for place in _FUNCTIONS if module in (f"keras.{place}", f"keras.src.{place}")]
    )
    return any(
        callable(function) and not isinstance(function, type)
        for place in places
        if (function := api_export.get_symbol_from_name(f"keras.{place}.{name}")) is not None
    )


def _is_computing(module: Any, name: str) -> bool:
    """Whether it is a class of Keras that computes and does nothing else."""
    if not isinstance(module, str) or module.partition(".")[0] != "keras":
        return False
    if _TORCH_OPTIMIZER.fullmatch(f"{module}.{name}"):
        return True
    found = api_export.get_symbol_from_name(f"{module}.{name}")
    if found is None:  # Keras writes classes that it does not export by their place
        found = vars(sys.modules[module]).get(name) if module in sys.modules else None
    return isinstance(found, type) and f"{found.__module__}.".startswith(_COMPUTING)


def _check_size(config: Any, n_bytes: int, path: Path) -> None:
    """Refuse layers that want more room than the weights in the file have."""
    waiting = global_state.get_global_attribute("uninitialized_variables", [], set_to_default=True)
    n_before = len(waiting)
    # The layers are built without their weights, for which Keras notes down what it would make.
    with contextlib.suppress(Exception), keras.StatelessScope(initialize_variables=False):
        keras.saving.deserialize_keras_object(config)  # load_model says better what is wrong
    wanted = waiting[n_before:]
    del waiting[n_before:]  # or else Keras would make them at the next occasion
    size = sum(math.prod(w.shape) * (2 if "16" in w.dtype else 4) for w in wanted)
    if size > n_bytes + _SLACK:
        raise ValueError(
            f"{path} describes layers of {size:,} bytes, and has weights of {n_bytes:,}; the "
            "file is damaged, or made to fill the memory."
        )


def _weights_in(archive: zipfile.ZipFile, path: Path) -> int:
    """Return the bytes of all weights; refuse those that lie elsewhere or claim too much."""
    size = archive.getinfo(_WEIGHTS).file_size
    if size > archive.getinfo(_WEIGHTS).compress_size * 100 + 2**20:
        raise ValueError(f"{path} says that it unpacks to {size:,} bytes of weights; refused.")
    with archive.open(_WEIGHTS) as stream, h5py.File(io.BytesIO(stream.read()), "r") as weights:
        claimed = 0
        seen = set()

        def look(group: Any) -> None:
            nonlocal claimed
            place = h5py.h5o.get_info(group.id).addr
            if place in seen:
                raise ValueError(f"{path} has weights {group.name!r} inside themselves; refused.")
            seen.add(place)
            for name in group:
                link = group.get(name, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    raise ValueError(f"{path} has weights {name!r} that lie elsewhere; refused.")
                part = group[name]
                if isinstance(part, h5py.Group):
                    look(part)
                    continue
                if part.external or part.is_virtual:
                    raise ValueError(f"{path} has weights {name!r} in other files; refused.")
                claimed += part.nbytes
                if claimed > size:
                    raise ValueError(
                        f"{path} claims {claimed:,} bytes of weights in {size:,}; refused."
                    )

        look(weights)
    return claimed
