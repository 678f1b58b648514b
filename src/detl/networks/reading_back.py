"""Whether a model comes back from a file or a pickle as it is."""

from __future__ import annotations

import json
import warnings

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
