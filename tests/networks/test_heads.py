"""A new head reads what the old one read, whatever form the old one has."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import softmax

from detl import DomainExtensionTransfer
from detl.networks import graphs
from detl.networks.heads import features_of, with_logits, with_probabilities

SHAPE = (8, 8, 1)


def backbone(**pooling):
    """Return the tensors of the pixels and of pooled features."""
    images = keras.Input(SHAPE, name="images")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(images)
    return images, layers.GlobalAveragePooling2D(name="pool", **pooling)(x)


def pixels(shape=SHAPE, n=3):
    return np.random.default_rng(0).uniform(-1, 1, (n, *shape)).astype("float32")


def values(model, tensor, images):
    return keras.Model(model.input, tensor).predict_on_batch(images)


# ------------------------------------------------------------------- a fully connected classifier


def dense(activation):
    return lambda x: layers.Dense(3, activation=activation)(x)


@pytest.mark.parametrize(
    "head",
    [
        *map(dense, ["softmax", "sigmoid", "log_softmax", "linear", None]),
        dense(layers.Softmax()),
        lambda x: layers.Softmax()(dense(None)(x)),
        lambda x: layers.Activation("sigmoid")(dense(None)(x)),
        lambda x: layers.Activation("linear")(dense("softmax")(x)),
        lambda x: keras.ops.softmax(dense(None)(x)),
        lambda x: keras.ops.sigmoid(dense(None)(x)),
        lambda x: keras.ops.log_softmax(dense(None)(x)),
        lambda x: keras.activations.softmax(dense(None)(x)),
        lambda x: keras.activations.sigmoid(dense(None)(x)),
    ],
    ids=[
        "softmax", "sigmoid", "log-softmax", "linear", "none", "layer as activation",
        "softmax layer", "sigmoid activation", "linear activation", "ops.softmax", "ops.sigmoid",
        "ops.log_softmax", "activations.softmax", "activations.sigmoid",
    ],
)  # fmt: skip
def test_what_the_last_dense_layer_reads_is_the_feature(head):
    images, pooled = backbone()
    assert features_of(keras.Model(images, head(pooled))) is pooled


@pytest.mark.parametrize(
    "end",
    [
        lambda x: x,
        layers.Dropout(0.5),
        layers.Dense(4, activation="relu"),
        lambda x: layers.ReLU()(layers.Dense(4)(x)),
        lambda x: layers.Activation("tanh")(layers.Dense(4)(x)),
        lambda x: keras.ops.relu(layers.Dense(4)(x)),
        lambda x: layers.Dropout(0.5)(
            layers.ReLU()(layers.BatchNormalization()(layers.Dense(4)(x)))
        ),
    ],
    ids=["pooling", "dropout", "hidden", "relu", "tanh", "ops.relu", "as in VGG-16"],
)
def test_a_model_that_ends_otherwise_is_a_backbone(end):
    images, pooled = backbone()
    features = end(pooled)
    assert features_of(keras.Model(images, features)) is features


@pytest.mark.parametrize(
    "between",
    [
        layers.BatchNormalization(),
        layers.Dropout(0.2),
        lambda x: x / 2.0,
        lambda x: keras.ops.clip(x, -20, 20),
        lambda x: 10.0 * layers.LayerNormalization()(x),
        layers.Lambda(lambda x: x / 3),
        lambda x: keras.ops.cast(x, "float32"),
        layers.ReLU(),
    ],
    ids=["norm", "dropout", "temperature", "clip", "scaled", "lambda", "cast", "relu"],
)
@pytest.mark.parametrize("head", [layers.Dense, layers.SpectralNormalization], ids=["", "wrapped"])
def test_what_stands_between_the_last_dense_layer_and_the_softmax_goes_with_it(between, head):
    images, pooled = backbone()
    dense = layers.Dense(2)
    scores = (dense if head is layers.Dense else head(dense))(pooled)
    assert features_of(keras.Model(images, layers.Softmax()(between(scores)))) is pooled
    clipped = keras.ops.clip(layers.Dense(2, activation="softmax")(pooled), 1e-7, 1)
    assert features_of(keras.Model(images, clipped)) is pooled


@pytest.mark.parametrize(
    "scores",
    [
        lambda x: layers.BatchNormalization()(layers.Dense(4)(x)),
        lambda x: 2 * layers.Dense(4)(x),
        lambda x: layers.Softmax()(layers.Average()([layers.Dense(4)(x), layers.Dense(4)(x)])),
    ],
    ids=["norm", "product", "two heads"],
)
def test_scores_that_may_be_those_of_classes_stay_with_a_warning(scores):
    images, pooled = backbone()
    features = scores(pooled)
    with pytest.warns(UserWarning, match=r"no classifier that is recognised.*reads its 4 outputs"):
        assert features_of(keras.Model(images, features)) is features


class Linear(layers.Layer):
    """A layer with weights, by the name of a function without."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 2))

    def call(self, x):
        return x @ self.kernel


def test_a_layer_with_weights_is_not_taken_for_a_function_of_its_name():
    images, pooled = backbone()
    probabilities = layers.Softmax()(Linear(name="old")(pooled))
    with pytest.warns(UserWarning, match=r"reads its 2 outputs.*the network below 'old' \(Linear"):
        assert features_of(keras.Model(images, probabilities)) is probabilities


# -------------------------------------------------------------------- a convolution as classifier


@pytest.mark.parametrize(
    "head",
    [
        lambda x: layers.Flatten()(layers.Conv2D(3, 1)(x)),
        lambda x: layers.Reshape((3,))(layers.Conv2D(3, 1, padding="same")(x)),
        lambda x: layers.Flatten()(layers.Conv2D(3, (1, 1), activation="softmax")(x)),
        lambda x: layers.Softmax()(layers.Flatten()(layers.Conv2D(3, 1)(x))),
    ],
    ids=["flattened", "reshaped", "with a softmax", "before a softmax"],
)
def test_what_a_last_convolution_of_one_pixel_reads_is_the_feature(head):
    images, pooled = backbone(keepdims=True)
    model = keras.Model(images, head(pooled))
    features = features_of(model)
    assert graphs.node_of(features).input_tensors == [pooled]
    x = pixels()
    np.testing.assert_array_equal(values(model, features, x), values(model, pooled, x)[:, 0, 0])


@pytest.mark.parametrize(
    "end",
    [
        lambda x: layers.Flatten()(x),
        lambda x: layers.Flatten()(layers.Conv2D(3, 1, activation="relu")(x)),
        lambda x: layers.Flatten()(layers.Conv2D(3, 3, padding="same")(x)),
        lambda x: layers.Flatten()(layers.Conv2D(3, 1)(layers.UpSampling2D(2)(x))),
        lambda x: layers.Flatten()(layers.DepthwiseConv2D(1)(x)),
    ],
    ids=["no convolution", "hidden", "larger kernel", "larger map", "depthwise"],
)
def test_another_flattened_map_is_the_output_of_a_backbone(end):
    images, pooled = backbone(keepdims=True)
    features = end(pooled)
    assert features_of(keras.Model(images, features)) is features


@pytest.mark.parametrize(
    "head",
    [
        lambda x: layers.GlobalAveragePooling2D()(layers.Conv2D(2, 1)(x)),
        lambda x: layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Conv2D(2, 1)(x))),
        lambda x: layers.GlobalMaxPooling2D()(layers.Conv2D(2, 1)(x)),
        lambda x: layers.Flatten()(layers.AveragePooling2D(6)(layers.Conv2D(2, 1)(x))),
        lambda x: keras.ops.mean(layers.Conv2D(2, 1)(x), axis=(1, 2)),
        lambda x: layers.GlobalAveragePooling2D()(layers.Dense(2)(x)),
    ],
    ids=["average", "SqueezeNet", "maximum", "flattened", "mean", "dense on maps"],
)
def test_a_convolution_that_makes_a_map_of_each_class_is_replaced_by_a_layer_on_averages(head):
    images = keras.Input(SHAPE)
    maps = layers.Conv2D(4, 3, name="conv")(images)
    model = keras.Model(images, layers.Softmax()(head(maps)))
    expected = values(model, maps, pixels()).mean(axis=(1, 2))
    np.testing.assert_allclose(values(model, features_of(model), pixels()), expected, rtol=1e-5)


@pytest.mark.parametrize("of_keras", ["channels_first", "channels_last"])
@pytest.mark.parametrize("of_network", ["channels_first", "channels_last"])
def test_maps_are_averaged_over_their_pixels_whatever_the_format(of_keras, of_network):
    settings = {"data_format": of_network}
    images = keras.Input(SHAPE)
    shape = (5, 6, 6) if of_network == "channels_first" else (6, 6, 5)
    x = layers.Dense(180)(layers.Flatten()(images))
    x = layers.ZeroPadding2D(1, **settings)(layers.Reshape(shape)(x))
    logits = layers.Conv2D(2, 1, activation="softmax", **settings)(x)
    model = keras.Model(images, layers.GlobalAveragePooling2D(**settings)(logits))
    keras.config.set_image_data_format(of_keras)
    try:
        assert features_of(model).shape == (None, 5)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_maps_of_another_convolution_stay_with_a_warning_where_a_softmax_follows():
    images = keras.Input(SHAPE)
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="conv")(images))
    with pytest.warns(UserWarning, match=r"the network below 'conv' \(Conv2D\)"):
        features_of(keras.Model(images, layers.Softmax()(pooled)))
    quiet = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="sigmoid")(images))
    assert features_of(keras.Model(images, quiet)) is quiet


# ------------------------------------------------------------------------------ published networks

APPLICATIONS = {"MobileNet": 0.25, "MobileNetV2": 0.35, "MobileNetV3Small": 0.35}


def application(name):
    return getattr(keras.applications, name)(
        input_shape=(32, 32, 3), alpha=APPLICATIONS[name], weights=None, classes=5
    )


@pytest.mark.parametrize("name", APPLICATIONS)
def test_new_logits_of_a_published_classifier_read_the_features_below_the_old_ones(name):
    network = application(name)
    extended = with_logits(network, 4, seed=0)
    old = [layer for layer in network.layers if layer.weights][-1]
    removed = [layer for layer in network.layers if layer not in extended.layers]
    assert [layer for layer in removed if layer.weights] == [old]

    images = pixels((32, 32, 3))
    features = values(network, old.input, images).reshape(3, -1)
    kernel, _ = extended.get_layer("logits").get_weights()
    expected = features @ kernel
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(extended.predict_on_batch(images), expected, rtol=1e-4, atol=1e-7)


def test_a_network_that_ends_in_a_convolution_of_one_pixel_can_be_a_source():
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype("uint8")
    fitted = DomainExtensionTransfer(
        application("MobileNet"), epochs=1, precision="mixed_bfloat16", random_state=0
    ).fit(images, ["a", "b", "c"] * 2)
    names = [layer.name for layer in fitted.model_.layers]
    assert names[-4:] == ["dropout", "features", "logits", "probabilities"]
    assert fitted.trained_layers_[-3:] == ["conv_pw_13", "conv_pw_13_bn", "logits"]


# ------------------------------------------------------------------------------------ the new head


def test_logits_are_a_linear_function_of_the_features_and_start_at_the_seed():
    images, pooled = backbone()
    model = keras.Model(images, dense("softmax")(pooled), name="source")
    x = pixels()
    first, again, other = (with_logits(model, 5, seed) for seed in (3, 3, 4))
    kernel, bias = first.get_layer("logits").get_weights()
    limit = np.sqrt(6 / (4 + 5))  # Glorot & Bengio 2010, eq. 16
    assert 0.5 * limit < np.abs(kernel).max() <= limit
    np.testing.assert_array_equal(bias, np.zeros(5))
    expected = values(model, pooled, x) @ kernel + bias
    np.testing.assert_allclose(first.predict_on_batch(x), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(kernel, again.get_layer("logits").get_weights()[0])
    assert not np.array_equal(kernel, other.get_layer("logits").get_weights()[0])
    assert first.name == "source"


def test_probabilities_are_the_softmax_of_the_logits_by_shared_layers():
    logits = with_logits(keras.Model(*backbone(), name="source"), 5, 0)
    model = with_probabilities(logits)
    x = pixels()
    expected = softmax(logits.predict_on_batch(x).astype("float64"), axis=1)
    np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-5)
    assert model.get_layer("logits") is logits.get_layer("logits")
    assert model.name == "source"


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_the_new_layers_compute_in_single_precision_whatever_the_callers_policy(policy):
    images, pooled = backbone(keepdims=True)
    model = keras.Model(images, layers.Flatten()(layers.Conv2D(3, 1)(pooled)))
    keras.config.set_dtype_policy(policy)
    try:
        extended = with_probabilities(with_logits(model, 5, 0))
    finally:
        keras.config.set_dtype_policy("float32")
    names = ("features", "logits", "probabilities")
    assert {extended.get_layer(name).compute_dtype for name in names} == {"float32"}


def test_the_source_is_left_as_it_is():
    images, pooled = backbone(keepdims=True)
    model = keras.Model(images, layers.Flatten()(layers.Conv2D(3, 1)(pooled)))
    names, weights = [layer.name for layer in model.layers], model.get_weights()
    with_probabilities(with_logits(model, 5, 0))
    assert [layer.name for layer in model.layers] == names
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("taken", ["images", "hidden"])
def test_names_that_are_taken_below_get_an_underscore_and_those_above_are_free(taken):
    images = keras.Input(SHAPE, name="logits" if taken == "images" else "images")
    x = layers.Conv2D(4, 3, name="features")(images)
    x = layers.Conv2D(4, 3, name="probabilities")(x)
    x = layers.Activation("relu", name="logits" if taken == "hidden" else "relu")(x)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    x = layers.Conv2D(3, 1, name="features_")(x)
    model = keras.Model(images, layers.Flatten(name="logits_")(x))
    extended = with_probabilities(with_logits(model, 2, 0))
    assert [layer.name for layer in extended.layers[-4:]] == [
        "pool",
        "features_",
        "logits_",
        "probabilities_",
    ]


# ---------------------------------------------------------------------------------- what is refused


def test_two_outputs_are_refused():
    images, pooled = backbone()
    with pytest.raises(ValueError, match="'pair' has 2 outputs; expected one"):
        features_of(keras.Model(images, [pooled, pooled], name="pair"))


@pytest.mark.parametrize("end", [lambda x: x, layers.Dense(3), layers.Softmax()])
def test_maps_are_refused_with_what_makes_features_of_them(end):
    images = keras.Input(SHAPE)
    maps = layers.Conv2D(4, 3)(images)
    with pytest.raises(
        ValueError, match=r"'maps' gives features of shape \(None, 6, 6, 4\).*End .* Flatten or Glo"
    ):
        features_of(keras.Model(images, end(maps), name="maps"))
