"""A tiny source and a transfer from it, as the tests of folds need them."""

import keras
from keras import layers

from detl import DomainExtensionTransfer

SHAPE = (16, 16, 1)


class Witness(layers.Layer):
    """Count the images that pass in inference, and how often each kind of graph is traced."""

    @classmethod
    def forget(cls):
        cls.images = 0  # of the class: a transfer trains a copy of its source
        cls.traces = {"training": 0, "inference": 0}

    @classmethod
    def count(cls, batch):
        cls.images += len(batch)
        return batch

    def call(self, batch, training=False):
        import tensorflow as tf

        if tf.executing_eagerly():  # noise, by which a copy is proved
            return batch
        type(self).traces["training" if training else "inference"] += 1
        if training:
            return batch
        seen = tf.numpy_function(self.count, [batch], batch.dtype)
        seen.set_shape(batch.shape)
        return seen


Witness.forget()


def network(*, witness_in=None, dropout=0.0):
    images = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 127.5, offset=-1)(images)
    for seed, block in enumerate(("block1", "block2")):
        initializer = keras.initializers.HeNormal(seed=seed)
        x = layers.Conv2D(
            4, 3, strides=2, padding="same", kernel_initializer=initializer, name=f"{block}_conv"
        )(x)
        x = layers.BatchNormalization(name=f"{block}_norm", momentum=0.9)(x)
        x = layers.ReLU(name=f"{block}_relu")(x)
        if witness_in == block:
            x = Witness(name=f"{block}_witness")(x)
        x = layers.Dropout(dropout, name=f"{block}_dropout")(x)
    return keras.Model(images, layers.GlobalAveragePooling2D(name="pool")(x))


def transfer(source=None, **changes):
    settings = {"epochs": 3, "learning_rate": 0.05, "batch_size": 8}
    return DomainExtensionTransfer(source or network(), **{**settings, **changes})
