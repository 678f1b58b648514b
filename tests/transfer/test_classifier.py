"""The transfer trains what it says, from where it says, and leaves all else as it was."""

import itertools
import os
import pickle
import random
import subprocess
import sys
import textwrap
from contextlib import redirect_stderr

import keras
import numpy as np
import pandas
import pytest
from keras import layers
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError

from detl import DomainExtensionTransfer, SourceModel, backbones, features
from detl.networks.digests import weights_digest
from detl.pretraining.augmentation import Augmentation

SHAPE = (16, 16, 1)
LABELS = np.array(["lung", "heart", "bone"] * 6)
BLOCKS = ("block1", "block2", "block3")


def backbone(*, normalized=True, dropout=0.0, relu=None, trainable=True):
    """Three blocks of one convolution; ``relu`` is one layer for all, or None for one each."""
    images = keras.Input(SHAPE, name="images")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(images)
    for seed, block in enumerate(BLOCKS):
        initializer = keras.initializers.HeNormal(seed=seed)
        name = f"{block}_conv"
        x = layers.Conv2D(
            4, 3, strides=2, padding="same", kernel_initializer=initializer, name=name
        )(x)
        if normalized:
            x = layers.BatchNormalization(name=f"{block}_norm")(x)
        x = (relu or layers.ReLU(name=f"{block}_relu"))(x)
        x = layers.Dropout(dropout, name=f"{block}_dropout")(x)
    model = keras.Model(images, layers.GlobalAveragePooling2D(name="pool")(x), name="small")
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):  # statistics other than the initial ones
            generator = np.random.default_rng(len(layer.name))
            layer.set_weights([generator.uniform(0.5, 1.5, 4) for _ in range(4)])
    model.trainable = trainable
    return model


def classifier(activation, **settings):
    network = backbone(**settings)
    units = 1 if activation == "sigmoid" else 2
    dense = layers.Dense(units, activation=activation, name="logits")
    return keras.Model(network.input, dense(network.output))


@pytest.fixture(scope="module")
def source():
    return backbone()


@pytest.fixture(scope="module")
def images():
    """Noise, brighter in some images: the classes differ in their mean."""
    generator = np.random.default_rng(0)
    level = {"lung": 0, "heart": 60, "bone": 120}
    noise = generator.integers(0, 136, (len(LABELS), *SHAPE))
    return (noise + np.array([level[label] for label in LABELS])[:, None, None, None]).astype(
        "uint8"
    )


@pytest.fixture(scope="module")
def fitted(source, images):
    """Return the fit that others are compared with; tests must leave it as it is."""
    return transfer(source).fit(images, LABELS)


def transfer(source, **changes):
    settings = {"epochs": 1, "learning_rate": 0.1, "batch_size": 8, "random_state": 0}
    return DomainExtensionTransfer.as_published(source, **{**settings, **changes})


def digests(model):
    return {layer.name: weights_digest(layer) for layer in model.layers if layer.weights}


def moved_layers(source, fitted):
    after = digests(fitted.model_)
    return [name for name, digest in digests(source).items() if after[name] != digest]


# --------------------------------------------------------------------------------- what is trained


def size_of(name):
    return {"alexnet": 57, "Xception": 71, "InceptionV3": 75}.get(name, 32)


def build(name, normalization="batch"):
    shape = (size_of(name), size_of(name), 1)
    if name[0].isupper():
        return backbones.from_application(name, shape)
    return getattr(backbones, name)(shape, width=0.0625, normalization=normalization)


APPLICATIONS = ("VGG16",)
DEEP_APPLICATIONS = (  # one of each kind of block
    "MobileNetV2",
    "MobileNetV3Small",
    "EfficientNetB0",
    "ConvNeXtTiny",
    "ResNet50V2",
    "DenseNet121",
)


@pytest.mark.parametrize(
    ("name", "normalization"),
    [
        *itertools.product(("alexnet", "vgg16"), ("batch", None)),
        ("resnet50", None),
        pytest.param("resnet50", "batch", marks=pytest.mark.slow),
        *[(name, "batch") for name in APPLICATIONS],
        *[pytest.param(name, "batch", marks=pytest.mark.slow) for name in DEEP_APPLICATIONS],
    ],
)
def test_frozen_weights_and_statistics_are_bit_identical_and_all_others_move(name, normalization):
    network = build(name, normalization)
    before = weights_digest(network)
    pixels = np.random.default_rng(0).integers(0, 256, (6, *network.input_shape[1:]))
    fitted = transfer(network).fit(pixels.astype("uint8"), ["a", "b", "c"] * 2)
    assert moved_layers(network, fitted) == fitted.trained_layers_[:-1]
    assert fitted.trained_layers_[-1] == "logits"
    assert 0 < len(fitted.trained_layers_) - 1 < len(digests(network))
    assert weights_digest(network) == before


@pytest.mark.parametrize(
    ("trainable_from", "trained"),
    [
        ("last_block", ["block3_conv", "block3_norm"]),
        ("block3", ["block3_conv", "block3_norm"]),
        ("block2", ["block2_conv", "block2_norm", "block3_conv", "block3_norm"]),
        ("block2_norm", ["block2_norm", "block3_conv", "block3_norm"]),
        ("block2_relu", ["block3_conv", "block3_norm"]),
        ("pool", []),
        ("logits", []),
        ("input", [f"{block}_{layer}" for block in BLOCKS for layer in ("conv", "norm")]),
        ("block1", [f"{block}_{layer}" for block in BLOCKS for layer in ("conv", "norm")]),
        ("rescaling", [f"{block}_{layer}" for block in BLOCKS for layer in ("conv", "norm")]),
    ],
)
def test_exactly_the_layers_from_the_named_one_on_are_trained(
    source, images, trainable_from, trained
):
    fitted = transfer(source, trainable_from=trainable_from).fit(images, LABELS)
    assert fitted.trained_layers_ == [*trained, "logits"]
    assert moved_layers(source, fitted) == trained


def test_a_unit_of_a_block_can_be_trained_alone(images):
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, padding="same", name="block1_conv")(inputs)
    for unit in ("block2_unit1", "block2_unit2"):
        y = layers.Conv2D(4, 3, padding="same", name=f"{unit}_conv1")(x)
        y = layers.Conv2D(4, 3, padding="same", name=f"{unit}_conv2")(y)
        x = layers.Add(name=f"{unit}_add")([x, y])
    residual = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    trained = {
        name: transfer(residual, trainable_from=name, learning_rate=1e-6)
        .fit(images, LABELS)
        .trained_layers_[:-1]
        for name in ("block2", "block2_unit2", "block2_unit2_conv2")
    }
    unit2 = ["block2_unit2_conv1", "block2_unit2_conv2"]
    assert trained["block2"] == ["block2_unit1_conv1", "block2_unit1_conv2", *unit2]
    assert trained["block2_unit2"] == unit2
    # Beside the second convolution runs the skip connection: the cut is where both begin.
    assert trained["block2_unit2_conv2"] == unit2


def test_layers_that_came_frozen_are_trained_where_it_is_said_so(fitted, images):
    frozen = backbone(trainable=False)
    found = transfer(frozen).fit(images, LABELS)
    assert moved_layers(frozen, found) == ["block3_conv", "block3_norm"]
    assert weights_digest(found.model_) == weights_digest(fitted.model_)
    assert not any(layer.trainable for layer in frozen.layers)


def test_one_activation_called_in_every_block_may_lie_on_both_sides_of_the_cut(source, images):
    shared = backbone(relu=layers.ReLU(name="relu"))
    # The cut is right behind its second call, and its third is above the cut.
    found, usual = (
        transfer(network, trainable_from="block2_dropout").fit(images, LABELS)
        for network in (shared, source)
    )
    assert found.trained_layers_ == ["block3_conv", "block3_norm", "logits"]
    assert weights_digest(found.model_) == weights_digest(usual.model_)
    np.testing.assert_array_equal(found.predict_proba(images), usual.predict_proba(images))


def test_weights_that_lie_on_both_sides_of_the_cut_are_refused(images):
    inputs = keras.Input(SHAPE)
    twice = layers.Conv2D(1, 3, padding="same", name="twice")
    x = twice(layers.ReLU(name="between")(twice(inputs)))
    network = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    with pytest.raises(ValueError, match=r"'twice' is called both below and above.*'between'"):
        transfer(network, trainable_from="between").fit(images, LABELS)
    # From its first call on, it is trained as a whole.
    fitted = transfer(network, trainable_from="twice", learning_rate=1e-6).fit(images, LABELS)
    assert fitted.trained_layers_ == ["twice", "logits"]


# ----------------------------------------------------------------------------- the usual recipe


def usual_recipe(source, head, trained, images, targets, *, steps, learning_rate):
    """Freeze layers of the whole network, compile it and train it, as by hand in Keras."""
    copy = keras.models.clone_model(source)
    copy.set_weights(source.get_weights())
    logits = layers.Dense(len(head[1]), name="logits")
    network = keras.Model(copy.input, logits(copy.output))
    logits.set_weights(head)
    for layer in network.layers:
        layer.trainable = layer.name in [*trained, "logits"]
    network.compile(
        keras.optimizers.SGD(learning_rate, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    for _ in range(steps):
        network.train_on_batch(images, targets)
    return keras.ops.convert_to_numpy(keras.ops.softmax(network.predict_on_batch(images)))


@pytest.mark.filterwarnings("ignore:The network has hardly learned")  # it is to be equal, not good
@pytest.mark.parametrize("normalized", [False, True], ids=["no BatchNorm", "frozen BatchNorm"])
@pytest.mark.parametrize("learning_rate", [1e-4, 0.1])
def test_the_result_is_that_of_frozen_layers_in_the_usual_recipe(images, normalized, learning_rate):
    source = backbone(normalized=normalized)
    settings = {"batch_size": len(images), "trainable_from": "block3"}  # a step is an epoch
    still = transfer(source, learning_rate=1e-30, **settings).fit(images, LABELS)
    fitted = transfer(source, learning_rate=learning_rate, epochs=6, **settings)
    probabilities = fitted.fit(images, LABELS).predict_proba(images)
    expected = usual_recipe(
        source,
        still.model_.get_layer("logits").get_weights(),
        ["block3_conv", "block3_norm"],
        images,
        np.searchsorted(fitted.classes_, LABELS),
        steps=6,
        learning_rate=learning_rate,
    )
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    learned = np.abs(expected - still.predict_proba(images)).max()
    assert learned > (0.1 if learning_rate == 0.1 else 1e-4)


def test_frozen_dropout_is_off(images):
    probabilities = [
        transfer(backbone(dropout=dropout), trainable_from="logits")
        .fit(images, LABELS)
        .predict_proba(images)
        for dropout in (0.0, 0.9)
    ]
    np.testing.assert_array_equal(*probabilities)


def test_dropout_in_the_tail_is_on(images):
    losses = [
        transfer(backbone(dropout=dropout)).fit(images, LABELS).history_["loss"]
        for dropout in (0.0, 0.9)
    ]
    assert losses[0] != losses[1]


# ------------------------------------------------------------------------------- the same, again

FIT = """
    import numpy as np
    from detl import DomainExtensionTransfer, backbones
    from detl.networks.digests import weights_digest

    pixels = np.random.default_rng(0).integers(0, 256, (10, 57, 57, 1)).astype("uint8")
    source = backbones.alexnet((57, 57, 1), width=0.0625)
    generator = np.random.default_rng(1)
    source.set_weights([generator.uniform(0.1, 0.2, w.shape) for w in source.get_weights()])
    transfer = DomainExtensionTransfer(source, epochs=2, batch_size=4, random_state=3)
    digest = weights_digest(transfer.fit(pixels, [0, 1] * 5).model_)
"""


def in_fresh_process(code, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_weights():
    here = {}
    exec(textwrap.dedent(FIT), here)
    assert in_fresh_process(FIT + "    print(digest)") == here["digest"]


def test_the_weights_depend_on_the_random_state_alone(images):
    noisy = backbone(dropout=0.5)
    found = []
    for global_seed, random_state in ((1, 0), (2, 0), (2, 1)):
        keras.utils.set_random_seed(global_seed)
        fitted = transfer(noisy, random_state=random_state).fit(images, LABELS)
        found.append((weights_digest(fitted.model_), fitted.history_))
    assert found[0] == found[1]
    assert found[0][0] != found[2][0]


def test_fitting_again_starts_from_the_source(source, images, fitted):
    twice = transfer(source).fit(images[:12] // 2, LABELS[:12]).fit(images, LABELS)
    assert weights_digest(twice.model_) == weights_digest(fitted.model_)
    assert twice.history_ == fitted.history_


@pytest.mark.parametrize(
    "draw", [np.random.RandomState, np.random.default_rng], ids=["RandomState", "Generator"]
)
def test_a_generator_may_be_the_random_state(source, images, draw):
    found = [
        weights_digest(transfer(source, random_state=draw(seed)).fit(images, LABELS).model_)
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]


# ------------------------------------------------------------------------------ augmented views


def test_augmented_views_change_the_training_by_their_amounts_and_the_seed(source, images, fitted):
    amounts = Augmentation(rotation=0, scaling=0.3, mirroring=False)
    changes = [
        {"augmented_views": 2},
        {"augmented_views": 2},
        {"augmented_views": 3},
        {"augmented_views": 2, "augmentation": amounts},
        {"augmented_views": 2, "random_state": 1},
    ]
    first, again, *others = (
        weights_digest(transfer(source, **change).fit(images, LABELS).model_) for change in changes
    )
    assert first == again
    assert len({first, weights_digest(fitted.model_), *others}) == 5


def test_views_without_any_change_train_as_the_images_do(source, images, fitted):
    still = Augmentation(rotation=0, scaling=0, mirroring=False)
    one = transfer(source, augmented_views=1, augmentation=still).fit(images, LABELS)
    # Drawing views moves the order of the images; one batch of all has no order.
    whole = [
        transfer(source, batch_size=len(LABELS), **change).fit(images, LABELS).history_["loss"]
        for change in ({}, {"augmented_views": 1, "augmentation": still})
    ]
    np.testing.assert_allclose(whole[0], whole[1], rtol=1e-5)
    assert one.trained_layers_ == fitted.trained_layers_


def test_a_network_with_nothing_frozen_sees_augmented_views_too(source, images):
    found = [
        transfer(source, trainable_from="input", augmented_views=n).fit(images, LABELS).history_
        for n in (0, 2, 2)
    ]
    assert found[1] == found[2] != found[0]


def test_a_second_fit_and_a_folder_give_the_same_as_the_first(source, images, fitted, tmp_path):
    features.clear_cache()
    for _ in range(2):
        kept = transfer(source, cache_dir=tmp_path).fit(images, LABELS)
        assert weights_digest(kept.model_) == weights_digest(fitted.model_)
        features.clear_cache()
    assert len(list(tmp_path.glob("*.features.npy"))) == 1


# ------------------------------------------------------------------------ what is left as it was


def test_the_global_type_of_keras_does_not_change_the_new_layer(source, images, fitted):
    before = keras.config.floatx()
    try:
        keras.config.set_floatx("float64")
        again = transfer(source).fit(images, LABELS)
    finally:
        keras.config.set_floatx(before)
    np.testing.assert_allclose(again.predict_proba(images), fitted.predict_proba(images), atol=1e-6)


def test_global_seeds_are_neither_read_nor_moved(images):
    noisy = backbone(dropout=0.5)
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    expected = random.Random(3).random(), np.random.RandomState(3).rand()
    transfer(noisy).fit(images, LABELS).predict(images)
    assert (random.random(), np.random.rand()) == expected  # noqa: NPY002


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_the_callers_dtype_policy_is_neither_used_nor_changed(source, images, fitted, policy):
    keras.config.set_dtype_policy(policy)
    try:
        found = transfer(source).fit(images, LABELS)
        probabilities = found.predict_proba(images)
        assert keras.config.dtype_policy().name == policy
    finally:
        keras.config.set_dtype_policy("float32")
    assert weights_digest(found.model_) == weights_digest(fitted.model_)
    np.testing.assert_array_equal(probabilities, fitted.predict_proba(images))


def test_arrays_are_not_written_to(source, images):
    pixels, labels = images.astype("float64"), LABELS.copy()
    pixels.setflags(write=False)
    labels.setflags(write=False)
    transfer(source, trainable_from="block1").fit(pixels, labels).predict(pixels)
    np.testing.assert_array_equal(pixels, images)


def test_a_fit_shows_its_steps_where_somebody_looks(source, images, terminal, capfd):
    with redirect_stderr(terminal):
        transfer(source, epochs=3, verbose=0).fit(images, LABELS).predict(images)
        assert terminal.getvalue() == ""
        shown = transfer(source, epochs=3).fit(images, LABELS)
    training = terminal.getvalue().split("training: ")[-1]
    assert "9/9" in training  # three batches, three epochs
    assert f"accuracy {shown.history_['accuracy'][-1]:.3f}" in training
    assert capfd.readouterr() == ("", "")


def test_verbose_2_prints_a_line_per_epoch(source, images, capsys):
    transfer(source, epochs=2, verbose=2).fit(images, LABELS)
    assert capsys.readouterr().out.count("accuracy: ") == 2


# ------------------------------------------------------------------------------ images and labels


@pytest.mark.parametrize(
    "labels",
    [
        ["lung", "heart", "bone"] * 6,
        [7, -2, 40] * 6,
        [True, False, False] * 6,
        np.array(["lung", "heart", "bone"] * 6, dtype=object),
        np.array([2.0, 0.0, 1.0] * 6),
    ],
    ids=["str", "int", "bool", "object", "whole floats"],
)
def test_labels_of_any_kind_are_learned_and_come_back(images, labels):
    learner = transfer(
        backbone(normalized=False), epochs=60, learning_rate=0.05, trainable_from="block2"
    ).fit(images, labels)
    np.testing.assert_array_equal(learner.classes_, sorted(set(labels)))
    predictions = learner.predict(images)
    assert predictions.dtype == np.asarray(labels).dtype
    right = predictions == np.asarray(labels)
    assert right.mean() > 0.9
    assert learner.score(images, labels) == right.mean()
    probabilities = learner.predict_proba(images)
    assert probabilities.shape == (len(images), len(learner.classes_))
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert learner.history_["loss"][-1] < learner.history_["loss"][0] / 4
    assert len(learner.history_["loss"]) == len(learner.history_["accuracy"]) == 60


def test_labels_in_a_column_are_taken_with_a_warning(source, images, fitted):
    with pytest.warns(DataConversionWarning, match="change the shape of y"):
        found = transfer(source).fit(images, LABELS[:, np.newaxis])
    assert weights_digest(found.model_) == weights_digest(fitted.model_)


def test_floats_lists_and_memory_maps_give_the_same_as_bytes(source, images, fitted, tmp_path):
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    found = {
        weights_digest(transfer(source).fit(pixels, LABELS).model_)
        for pixels in (images.astype("float32"), images.tolist(), mapped)
    }
    assert found == {weights_digest(fitted.model_)}


@pytest.mark.parametrize(
    ("class_weight", "per_class"),
    [
        (None, {"common": 1, "rare": 1}),
        ("balanced", {"common": 18 / (2 * 15), "rare": 18 / (2 * 3)}),
        ({"common": 1, "rare": 5}, {"common": 18 / 30, "rare": 5 * 18 / 30}),
    ],
)
def test_class_weights_change_the_loss_as_computed_by_hand(source, images, class_weight, per_class):
    labels = np.array(["rare"] * 3 + ["common"] * 15)
    fitted = transfer(
        source,
        class_weight=class_weight,
        trainable_from="logits",
        learning_rate=1e-30,
        batch_size=18,
    ).fit(images, labels)
    columns = np.searchsorted(fitted.classes_, labels)
    own = -np.log(fitted.predict_proba(images)[np.arange(18), columns])
    expected = np.mean([per_class[label] for label in labels] * own)
    assert fitted.history_["loss"] == pytest.approx([expected], rel=1e-5)


def test_half_precision_is_close_to_single_and_its_weights_are_single(source, images):
    single, half = (
        transfer(source, precision=precision, epochs=5).fit(images, LABELS)
        for precision in ("float32", "mixed_bfloat16")
    )
    difference = np.abs(single.predict_proba(images) - half.predict_proba(images)).max()
    assert 0 < difference < 0.05
    assert {weight.dtype for weight in half.model_.weights} == {"float32"}
    assert moved_layers(source, half) == ["block3_conv", "block3_norm"]


def test_automatic_precision_is_one_of_the_two(source, images, caplog):
    caplog.set_level("INFO", logger="detl")
    fitted = transfer(source, precision="auto").fit(images, LABELS)
    (message,) = [record.message for record in caplog.records if record.name == "detl"]
    (chosen,) = [name for name in ("float32", "mixed_bfloat16") if f"chose {name}" in message]
    named = transfer(source, precision=chosen).fit(images, LABELS)
    assert weights_digest(fitted.model_) == weights_digest(named.model_)


# -------------------------------------------------------------------------------- kinds of source


def sequential():
    return keras.Sequential([*backbone().layers, layers.Dense(2, activation="softmax")])


def sequential_of_a_model():
    return keras.Sequential([keras.Input(SHAPE), backbone(), layers.Dense(2)])


def nested(base):
    """Return a frozen base in a model of its own, as the guides of Keras write it."""
    base.trainable = False
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, layers.Dense(2)(base(inputs, training=False)))


def followed_by(activation):
    network = classifier(None)
    return keras.Model(network.input, activation(network.output))


@pytest.mark.parametrize(
    "make",
    [
        lambda: classifier("softmax"),
        lambda: classifier("sigmoid"),
        lambda: classifier(None),
        lambda: followed_by(layers.Softmax(name="probabilities")),
        lambda: followed_by(layers.Activation("softmax")),
        lambda: SourceModel(
            model=classifier("softmax"), classes=np.array([0, 1]), history={}, best_epoch=0
        ),
        sequential,
        sequential_of_a_model,
        lambda: nested(backbone()),
        lambda: nested(nested_backbone()),
    ],
    ids=[
        "softmax",
        "sigmoid",
        "logits",
        "softmax layer",
        "softmax activation",
        "SourceModel",
        "Sequential",
        "Sequential of a model",
        "nested",
        "nested twice",
    ],
)
def test_every_kind_of_source_gives_what_its_backbone_gives(images, fitted, make):
    found = transfer(make()).fit(images, LABELS)
    assert weights_digest(found.model_) == weights_digest(fitted.model_)
    np.testing.assert_array_equal(found.predict_proba(images), fitted.predict_proba(images))
    assert not any(isinstance(layer, keras.Model) for layer in found.model_.layers)
    assert [layer.name for layer in found.model_.layers[-2:]] == ["logits", "probabilities"]


def nested_backbone():
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, backbone()(inputs), name="outer")


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_a_source_may_be_the_path_of_a_saved_one(images, fitted, tmp_path, kind):
    saved = SourceModel(
        model=classifier("softmax"), classes=np.array(["a", "b"]), history={}, best_epoch=0
    ).save(tmp_path / "source.keras")
    random.seed(3)
    found = transfer(kind(saved)).fit(images, LABELS)
    assert weights_digest(found.model_) == weights_digest(fitted.model_)
    assert random.random() == random.Random(3).random()


def test_a_transfer_can_be_the_source_of_another(images, fitted):
    source = fitted.model_
    before = weights_digest(source)
    second = transfer(source).fit(images, LABELS == "lung")
    assert moved_layers(source, second) == ["block3_conv", "block3_norm", "logits"]
    assert weights_digest(source) == before
    assert [layer.name for layer in second.model_.layers[-2:]] == ["logits", "probabilities"]
    assert second.classes_.tolist() == [False, True]


# ---------------------------------------------------------------------------------- the result


def test_the_model_goes_flat_from_pixels_to_probabilities(source, images, fitted):
    model = fitted.model_
    assert model.input_shape == (None, *SHAPE)
    assert model.output_shape == (None, 3)
    names = [layer.name for layer in source.layers]
    assert [layer.name for layer in model.layers] == [*names, "logits", "probabilities"]
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    np.testing.assert_allclose(
        model.predict_on_batch(images), fitted.predict_proba(images), atol=1e-6
    )
    assert fitted.n_features_in_ == 16


@pytest.mark.slow
def test_the_saved_model_needs_keras_only(images, fitted, tmp_path):
    fitted.model_.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    code = """
        import sys

        sys.modules["detl"] = None  # importing it fails
        import keras
        import numpy as np

        folder = sys.argv[1]
        model = keras.saving.load_model(f"{folder}/model.keras")
        np.save(f"{folder}/out.npy", model.predict_on_batch(np.load(f"{folder}/images.npy")))
    """
    in_fresh_process(code, tmp_path)
    np.testing.assert_allclose(
        np.load(tmp_path / "out.npy"), fitted.predict_proba(images), atol=1e-6
    )


# --------------------------------------------------------------------- what it says of itself


def test_a_network_that_has_not_learned_its_images_is_warned_of(source, images):
    with pytest.warns(
        ConvergenceWarning, match=r"hardly learned .*Try more epochs \(now 10\) or a"
    ):
        transfer(source, epochs=10, head_start="random", learning_rate=1e-9).fit(images, LABELS)


def test_one_line_asks_for_what_is_published(source):
    published = DomainExtensionTransfer.as_published(source, epochs=7, random_state=0)
    asked = {"head_start": "random", "schedule": "constant", "learning_rate": 1e-4, "epochs": 7}
    assert published.get_params() == {
        **DomainExtensionTransfer(source, random_state=0).get_params(),
        **asked,
    }


def test_groups_keep_together_what_is_held_out_inside(source, images):
    groups = np.arange(18) // 6
    settings = {"validation_split": 0.34, "epochs": 2}
    found = transfer(source, **settings).fit(images, LABELS, groups=groups)
    assert set(found.history_) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    alone = transfer(source, **settings).fit(images, LABELS)
    assert alone.history_["val_loss"] != found.history_["val_loss"]
    with pytest.raises(ValueError, match="5 groups for 18 images"):
        transfer(source, **settings).fit(images, LABELS, groups=groups[:5])


# ------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_predict_before_fit_is_refused(source, images, method):
    with pytest.raises(NotFittedError, match="Call 'fit' with appropriate arguments before"):
        getattr(transfer(source), method)(images)


def test_an_image_of_which_the_network_says_nothing_gets_no_class(source, images):
    broken = transfer(source).fit(images, LABELS)
    kernel = broken.model_.get_layer("logits").kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    with pytest.raises(ValueError, match=r"NaN for 3 of 3 images, first in row 0; look for"):
        broken.predict(images[:3])
    assert np.isnan(broken.predict_proba(images[:3])).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"trainable_from": "blok3"}, ValueError, "neither a block nor a layer.*'block3'"),
        ({"trainable_from": 3}, TypeError, "int 3; expected the name of a block or a layer"),
        ({"epochs": 0}, ValueError, "epochs=0; expected at least 1"),
        ({"epochs": 2.5}, TypeError, "epochs is float 2.5; expected a whole number"),
        ({"batch_size": -1}, ValueError, "batch_size=-1; expected at least 1"),
        ({"learning_rate": 0}, ValueError, "learning_rate=0; expected a number above 0"),
        ({"learning_rate": "1e-4"}, TypeError, "learning_rate is str '1e-4'; expected a number"),
        ({"momentum": 1}, ValueError, "momentum=1; expected a number at least 0 and below 1"),
        (
            {"label_smoothing": 1.0},
            ValueError,
            "label_smoothing=1.0; expected a number at least 0 and below 1",
        ),
        ({"head_learning_rate": 0}, ValueError, "head_learning_rate=0; expected a number above 0"),
        ({"momentum": "0.9"}, TypeError, "momentum is str '0.9'; expected a number at least 0"),
        ({"class_weight": "even"}, ValueError, "'even'; expected one of None, 'balanced'"),
        ({"class_weight": pandas.Series({"lung": 1.0})}, TypeError, "class_weight is Series; exp"),
        (
            {"class_weight": {"lung": 1, "haert": 2, "bone": 1}},
            ValueError,
            r"weights for \['bone', 'haert', 'lung'\]; expected .* \['bone', 'heart', 'lung'\]",
        ),
        (
            {"class_weight": {"lung": 1, "heart": 0, "bone": 1}},
            ValueError,
            r"class_weight\['heart'\]=0; expected a number above 0",
        ),
        ({"augmented_views": -1}, ValueError, "augmented_views=-1; expected at least 0"),
        ({"augmented_views": 1.0}, TypeError, "augmented_views is float 1.0; expected a whole"),
        ({"augmentation": 10}, TypeError, "augmentation is int; expected an Augmentation"),
        ({"augmentation": Augmentation()}, ValueError, "augmented_views=0; try augmented_views=8"),
        ({"head_start": "zero"}, ValueError, "'zero'; expected one of 'linear_probe', 'random'"),
        ({"schedule": "step"}, ValueError, "'step'; expected one of 'cosine', 'constant'"),
        ({"validation_split": 0.6}, ValueError, "validation_split=0.6; expected a number at"),
        ({"early_stopping": 3}, ValueError, "=3, but validation_split=0 holds out no images"),
        (
            {"early_stopping": 0, "validation_split": 0.2},
            ValueError,
            "early_stopping=0; expected at least 1",
        ),
        ({"callbacks": [print]}, TypeError, "expected a list of keras.callbacks.Callback, or a"),
        ({"precision": "half"}, ValueError, "expected one of 'float32', 'mixed_bfloat16'"),
        ({"random_state": -1}, ValueError, "random_state=-1; expected a whole number >= 0"),
    ],
)
def test_wrong_parameters_are_refused_by_fit(source, images, change, error, message):
    estimator = transfer(source, **change)  # scikit-learn: constructors check nothing
    with pytest.raises(error, match=message):
        estimator.fit(images, LABELS)


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def two_inputs():
    inputs = [keras.Input(SHAPE), keras.Input(SHAPE)]
    x = layers.Conv2D(2, 3)(layers.Concatenate()(inputs))
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x), name="pair")


def two_outputs():
    network = backbone()
    return keras.Model(network.input, [network.output, network.output], name="fork")


def without_pooling():
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, layers.Conv2D(2, 3)(inputs), name="maps")


def without_convolution():
    inputs = keras.Input(SHAPE)
    x = layers.Dense(4, name="hidden")(layers.Flatten()(inputs))
    return keras.Model(inputs, layers.Dense(2)(x), name="dense")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: 5,
            TypeError,
            "source is int; expected what detl.pretrain returned.*Model.$",
        ),
        (lambda: None, TypeError, r"source is NoneType.*loaded transfer has none.*source=\.\.\."),
        (Subclassed, TypeError, "source is Subclassed; .* functional or built Sequential"),
        (
            lambda: keras.Sequential([layers.Dense(2)]),
            TypeError,
            "source is Sequential; .* functional or built Sequential",
        ),
        (lambda: "nowhere.keras", FileNotFoundError, "No model at nowhere.keras"),
        (two_inputs, ValueError, "'pair' has 2 inputs; expected one"),
        (two_outputs, ValueError, "'fork' has 2 outputs; expected one"),
        (without_pooling, ValueError, "'maps' gives features of shape.*GlobalAveragePooling2D"),
        (
            without_convolution,
            ValueError,
            "'dense' has no convolution.*name a layer .trainable_from., one of.*'hidden'",
        ),
    ],
)
def test_what_cannot_be_a_source_is_refused(images, make, error, message):
    with pytest.raises(error, match=message):
        transfer(make()).fit(images, LABELS)


def test_a_source_without_convolution_can_be_trained_from_a_named_layer(images):
    fitted = transfer(without_convolution(), trainable_from="hidden", learning_rate=1e-6)
    assert fitted.fit(images, LABELS).trained_layers_ == ["hidden", "logits"]


def row(index):
    return (np.arange(len(LABELS)) == index)[:, np.newaxis, np.newaxis, np.newaxis]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x[:, :8], r"X has shape \(18, 8, 16, 1\), but the model takes \(n, 16, 16, 1\)"),
        (lambda x: np.repeat(x, 3, -1), r"the model takes \(n, 16, 16, 1\)"),
        (lambda x: x[..., 0], r"grey images: X\[\.\.\., np\.newaxis\]"),
        (lambda x: x[0], r"One image: X\[np\.newaxis\]"),
        (lambda x: x[:0], "X is empty; expected at least one image"),
        (lambda x: np.where(row(4), np.nan, x), "X contains NaN or infinity, first in row 4"),
        (lambda x: np.where(row(5), np.inf, x), "X contains NaN or infinity, first in row 5"),
    ],
)
def test_wrong_images_are_refused_by_fit_and_by_predict(source, images, fitted, spoil, message):
    spoiled = spoil(images)
    with pytest.raises(ValueError, match=message):
        transfer(source).fit(spoiled, LABELS[: len(spoiled)])
    with pytest.raises(ValueError, match=message):
        fitted.predict(spoiled)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:-1], "17 y for 18 rows of X; expected one entry per image"),
        (["lung"] * 18, "one class only, .*'lung'"),
        (np.eye(3)[[0, 1, 2] * 6], r"one-hot labels: use labels\.argmax\(axis=1\)"),
        (np.linspace(0, 1, 18), "Unknown label type: continuous"),
        ([None, *LABELS[1:]], r"y has a missing value \(NaN or None\) in row 0"),
        ([*LABELS[:3], float("nan"), *LABELS[4:]], r"y has a missing value .* in row 3"),
        ([*([0.0, 1.0] * 8), np.nan, 1.0], r"y has a missing value \(NaN or None\) in row 16"),
        (None, r"y has shape \(\); expected \(18,\)"),
    ],
)
def test_wrong_labels_are_refused(source, images, labels, message):
    with pytest.raises(ValueError, match=message):
        transfer(source).fit(images, labels)


def test_pixels_between_0_and_1_are_warned_of_in_fit_and_in_predict(source, images, fitted):
    scaled = images / 255
    with pytest.warns(UserWarning, match=r"pixels are expected in \[0, 255\].*multiply them back"):
        transfer(source).fit(scaled, LABELS)
    with pytest.warns(UserWarning, match="rescaling is inside the model"):
        fitted.predict(scaled)


def test_a_source_that_takes_pixels_between_0_and_1_gets_them_without_a_warning(images):
    stack = [layers.Conv2D(4, 3, name="conv"), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    source = keras.Sequential([keras.Input(images.shape[1:]), *stack])
    transfer(source).fit(images / 255, LABELS).predict(images / 255)


def test_a_rate_that_is_too_high_is_warned_of(source, images):
    with pytest.warns(ConvergenceWarning, match=r"learning_rate=1e\+38 is too high here"):
        transfer(source, learning_rate=1e38, epochs=3).fit(images, LABELS)


# ------------------------------------------------------------------------- code of one's own in it


def as_in_a_notebook(factor, *, registered):
    """Define a layer or a registered function of one name, and build the source with it."""
    namespace = {"keras": keras, "__name__": "__main__"}
    body = f"    return x * {factor} / 255"
    if registered:
        lines = [
            "@keras.saving.register_keras_serializable('detl_tests_edited')",
            "def scaled(x):",
            body,
        ]
    else:
        lines = ["class Scaled(keras.layers.Layer):", "  def call(self, x):", body]
    exec("\n".join(lines), namespace)
    pixels = keras.Input(SHAPE)
    x = layers.Activation(namespace["scaled"]) if registered else namespace["Scaled"]()
    kernels = keras.initializers.HeNormal(seed=0)
    x = layers.Conv2D(4, 3, strides=2, kernel_initializer=kernels, name="block1_conv")(x(pixels))
    x = layers.Conv2D(4, 3, strides=2, kernel_initializer=kernels, name="block2_conv")(x)
    return keras.Model(pixels, layers.GlobalAveragePooling2D()(x))


@pytest.mark.parametrize("registered", [False, True], ids=["layer", "function"])
@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
def test_code_that_was_edited_is_not_taken_for_what_it_was(images, tmp_path, registered, on_disk):
    features.clear_cache()
    found = []
    for factor in (1, 2):
        source = as_in_a_notebook(factor, registered=registered)
        cached = transfer(source, cache_dir=tmp_path if on_disk else None)
        found.append(np.array(cached._extend(np.arange(3)).trunk(images)))
        if on_disk:
            features.clear_cache()
    np.testing.assert_allclose(found[1], 2 * found[0], rtol=1e-5)


def with_lambda(function, **options):
    pixels = keras.Input(SHAPE)
    x = layers.Lambda(function, **options, name="own")(pixels)
    x = layers.Conv2D(4, 3, strides=2, name="block1_conv")(x)
    x = layers.Conv2D(4, 3, strides=2, name="block2_conv")(x)
    return keras.Model(pixels, layers.GlobalAveragePooling2D()(x), name="lambdas")


def test_a_source_with_a_lambda_in_memory_is_extended_and_says_what_it_cannot(images):
    fitted = transfer(with_lambda(lambda x: keras.ops.repeat(x / 255, 3, -1))).fit(images, LABELS)
    probabilities = fitted.predict_proba(images)
    np.testing.assert_allclose(probabilities, fitted.model_.predict(images, verbose=0), atol=1e-6)
    with pytest.raises(TypeError, match="Lambda layer 'own' of 'lambdas' cannot be pickled"):
        pickle.dumps(fitted)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(transfer(fitted.source))


@pytest.mark.parametrize("function", [keras.ops.relu, lambda x: x / 2], ids=["keras's", "lambda"])
def test_a_lambda_that_comes_back_is_pickled(images, function):
    fitted = transfer(with_lambda(function)).fit(images, LABELS)
    back = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_allclose(back.predict_proba(images), fitted.predict_proba(images), atol=1e-6)
