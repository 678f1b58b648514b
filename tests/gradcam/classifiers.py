"""Small classifiers of every form, and what the tests ask of them."""

import keras
import numpy as np
from keras import layers


def pixels(n=3, shape=(8, 8, 1), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype("uint8")


def randomize(model, seed=0):
    """Give every weight a random value, batch statistics included."""
    generator = np.random.default_rng(seed)
    model.set_weights(
        [
            generator.uniform(0.5, 1.5, w.shape)
            if "variance" in w.path
            else generator.normal(0, 0.5, w.shape)
            for w in model.weights
        ]
    )
    return model


def convolutional(*head, shape=(8, 8, 1), dtype=None, name="classifier"):
    """Build a Sequential classifier: one convolution, then the head."""
    return randomize(
        keras.Sequential(
            [
                layers.Input(shape),
                layers.Rescaling(1 / 255, dtype=dtype),
                layers.Conv2D(4, 3, strides=2, activation="gelu", name="conv", dtype=dtype),
                *head,
            ],
            name=name,
        )
    )


def pooled(units=3, activation=None, **settings):
    return convolutional(
        layers.GlobalAveragePooling2D(),
        layers.Dense(units, activation=activation, dtype=settings.get("dtype")),
        **settings,
    )


def residual():
    x = images = keras.Input((8, 8, 1))
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(3, 3, padding="same", activation="gelu", name="stem")(x)
    y = layers.Conv2D(3, 3, padding="same", name="branch")(x)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.Activation("gelu", name="activated")(y)
    x = layers.Add(name="sum")([x, y])
    x = layers.Activation("gelu", name="unit")(x)
    x = layers.AveragePooling2D(2, name="pool")(x)
    x = layers.Dense(5, activation="gelu")(layers.Flatten()(x))
    return randomize(keras.Model(images, layers.Dense(3, activation="softmax")(x)))


def nested(base_shape=(8, 8, 1)):
    """Build the usual form of transfer learning: a base model called like a layer."""
    base = keras.Sequential(
        [
            layers.Input(base_shape),
            layers.Conv2D(3, 3, activation="gelu", name="conv"),
            layers.Conv2D(4, 3, activation="gelu", name="top"),
        ],
        name="base",
    )
    images = keras.Input((8, 8, 1))
    x = base(layers.Rescaling(1 / 255)(images))
    x = layers.GlobalAveragePooling2D()(layers.Dropout(0.5)(x))
    x = layers.Dense(4, activation="tanh")(x)
    return randomize(keras.Model(images, layers.Dense(3, activation="softmax")(x)))


def maps_of(model, layer, images):
    part = keras.Model(model.inputs[0], model.get_layer(layer).output)
    return keras.ops.convert_to_numpy(part(images))


def last_kernel(model):
    return model.layers[-1].get_weights()[0]


def state_of(model):
    """Collect everything of a model that a caller may look at."""
    return {
        "weights": [w.copy() for w in model.get_weights()],
        "trainable": [layer.trainable for layer in model._flatten_layers()],
        "policies": [layer.dtype_policy.name for layer in model._flatten_layers()],
        "activations": [getattr(layer, "activation", None) for layer in model._flatten_layers()],
        "calls": [len(layer._inbound_nodes) for layer in model._flatten_layers()],
        "policy": keras.config.dtype_policy().name,
        "training_config": model.compiled,
    }


class Plain(keras.Model):
    """A subclassed model that calls given layers one after the other."""

    def __init__(self, parts, **settings):
        super().__init__(**settings)
        self.parts = list(parts)

    def call(self, images):
        for part in self.parts:
            images = part(images)
        return images


class Residual(keras.Model):
    """The layers of residual(), called by hand: the sum belongs to no layer."""

    def __init__(self, network):
        super().__init__()
        self.network_layers = {layer.name: layer for layer in network.layers}
        self.head = [layer for layer in network.layers if isinstance(layer, layers.Dense)]

    def call(self, images):
        part = self.network_layers
        x = part["stem"](images / 255)
        y = part["activated"](part["norm"](part["branch"](x)))
        x = keras.activations.gelu(x + y)
        x = part["pool"](x)
        x = keras.ops.reshape(x, (-1, 48))
        return self.head[1](self.head[0](x)) * 1  # the layer's softmax is not the last operation


def called(model, images=None):
    model(pixels(1) if images is None else images)
    return model
