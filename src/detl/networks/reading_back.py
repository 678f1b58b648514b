"""Whether a model comes back from a file or a pickle as it is."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras

from detl.networks.copying import finalize_statistics, global_seed_kept
from detl.networks.graphs import is_graph
from detl.networks.probe import has_own_code, is_own, output_on_noise
from detl.storage.rounding import agree


@global_seed_kept()
def lost_layer(model: keras.Model, *, safe_mode: bool) -> keras.layers.Layer | None:
    """Return a layer that Keras would not read back as it is, if there is one.

    Code that is not Keras's may be missing where it is read: a class that nobody registered, or the
    names that a lambda uses. Layers of Keras's alone always come back.
    """
    suspects = [
        layer
        for layer in model._flatten_layers()
        if (is_own(layer) or not is_graph(layer)) and has_own_code(layer)
    ]
    if not suspects:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of lambdas: the caller says it in his own words
            written = keras.saving.serialize_keras_object(model)
            written.pop("compile_config", None)
            read = keras.saving.deserialize_keras_object(
                json.loads(json.dumps(written)), safe_mode=safe_mode
            )
            read.set_weights(model.get_weights())
            finalize_statistics(read)
    except Exception:  # whatever it is, a file would have it too
        return suspects[0]
    return None if agree(output_on_noise(model), output_on_noise(read)) else suspects[0]


class Portable:
    """A model in a pickle, before which the registered code of its layers is unpickled.

    A worker process has not run the caller's script, which registered it.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model

    def __reduce__(self) -> tuple[Any, ...]:
        """Become the model when it is unpickled."""
        read, content = self.model.__reduce__()
        config = keras.saving.serialize_keras_object(self.model)
        return _read_with, (dict(_registered_code(config)), read, content)


def _read_with(code: dict[str, Any], read: Callable[..., Any], content: tuple[Any, ...]) -> Any:
    for name, found in code.items():
        if keras.saving.get_registered_object(name) is None:
            package, _, own_name = name.rpartition(">")
            keras.saving.register_keras_serializable(package, own_name)(found)
    return read(*content)


def _registered_code(config: Any) -> Iterator[tuple[str, Any]]:
    """Yield the classes and functions that a configuration names, as they are registered."""
    if isinstance(config, dict):
        is_function = config.get("class_name") == "function"
        name = config.get("config" if is_function else "registered_name")
        if isinstance(name, str):
            found = keras.saving.get_registered_object(name)
            if found is not None:
                yield name, found
    parts = config.values() if isinstance(config, dict) else config
    if isinstance(config, dict | list | tuple):
        for part in parts:
            yield from _registered_code(part)
