import keras
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from detl import DomainExtensionTransfer, SourceModel, backbones
from detl.tail import weights_digest

SHAPE = (32, 32, 1)


def source_network(normalization="batch"):
    return backbones.vgg16(SHAPE, width=0.0625, normalization=normalization)


@pytest.fixture(scope="module")
def source():
    return source_network()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (18, *SHAPE)).astype("uint8")


LABELS = np.array(["lung", "heart", "bone"] * 6)


def quick(source, **changes):
    return DomainExtensionTransfer(source, **{"epochs": 1, "random_state": 0, **changes})


def weights_by_layer(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def test_frozen_weights_and_statistics_stay_bit_identical_and_the_others_move(source, images):
    before = weights_by_layer(source)
    digest = weights_digest(source)
    transfer = quick(source, learning_rate=0.1).fit(images, LABELS)
    after = weights_by_layer(transfer.model_)
    for name, weights in before.items():
        same = all(np.array_equal(a, b) for a, b in zip(weights, after[name]))
        assert same == (name not in transfer.trained_layers_), name
    assert "block5_conv1_norm" in transfer.trained_layers_
    assert "block4_conv3_norm" not in transfer.trained_layers_
    assert weights_digest(source) == digest


def test_the_result_is_that_of_frozen_layers_inside_fit(images):
    # No dropout: its noise would hide a difference. BatchNormalization is frozen in both.
    source = backbones.vgg16(SHAPE, width=0.0625, dropout=0.0)
    transfer = quick(source, learning_rate=0.05)
    extension = transfer.extend(3)
    usual = keras.models.clone_model(extension.network)
    usual.set_weights(extension.network.get_weights())
    trained = {layer.name for layer in extension.tail.model.layers}
    for layer in usual.layers:
        layer.trainable = layer.name in trained
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    usual.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss)
    targets = np.unique(LABELS, return_inverse=True)[1]
    features = extension.trunk(images)
    start = usual.predict(images, verbose=0)
    for step in range(6):
        rows = np.random.default_rng(step).permutation(18)[:6]
        usual.train_on_batch(images[rows], targets[rows])
        extension.tail.model.train_on_batch(features[rows], targets[rows])
    expected = usual.predict(images, verbose=0)
    found = extension.network.predict(images, verbose=0)
    assert np.abs(expected - start).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_same_seed_gives_the_same_weights_whatever_ran_before(source, images):
    first = quick(source).fit(images, LABELS)
    keras.utils.set_random_seed(7)
    second = quick(source).fit(images, LABELS).fit(images, LABELS)
    assert weights_digest(first.model_) == weights_digest(second.model_)
    other = quick(source, random_state=1).fit(images, LABELS)
    assert weights_digest(first.model_) != weights_digest(other.model_)


def test_global_seeds_and_dtype_policy_are_left_alone(source, images):
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.RandomState(3).rand()
    quick(source, precision="mixed_bfloat16").fit(images, LABELS)
    assert np.random.rand() == expected  # noqa: NPY002
    assert keras.config.dtype_policy().name == "float32"


def test_predictions_are_of_the_exported_model(source, images, tmp_path):
    transfer = quick(source).fit(images, LABELS)
    probabilities = transfer.predict_proba(images)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(
        transfer.predict(images), transfer.classes_[probabilities.argmax(axis=1)]
    )
    transfer.model_.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(images, verbose=0), probabilities, atol=1e-6)


def test_a_source_may_be_a_classifier_a_source_model_or_a_file(images, tmp_path):
    backbone = source_network()
    softmax = keras.layers.Dense(2, activation="softmax", name="predictions")
    classifier = keras.Model(backbone.input, softmax(backbone.output))
    model = SourceModel(model=classifier, classes=np.array(["a", "b"]), history={}, best_epoch=0)
    path = model.save(tmp_path / "source.keras")
    found = [
        quick(source).fit(images, LABELS).predict_proba(images)
        for source in (backbone, classifier, model, path, str(path))
    ]
    for probabilities in found[1:]:
        np.testing.assert_allclose(probabilities, found[0], atol=1e-6)


def test_a_nested_source_is_flattened(images):
    backbone = source_network()
    inputs = keras.Input(SHAPE)
    nested = keras.Model(inputs, keras.layers.Dense(2)(backbone(inputs, training=False)))
    transfer = quick(nested).fit(images, LABELS)
    assert not any(isinstance(layer, keras.Model) for layer in transfer.model_.layers)
    flat = quick(backbone).fit(images, LABELS)
    np.testing.assert_allclose(
        transfer.predict_proba(images), flat.predict_proba(images), atol=1e-6
    )


@pytest.mark.parametrize(
    ("trainable_from", "first"),
    [("block4", "block4_conv1"), ("block5_conv3", "block5_conv3"), ("logits", "logits")],
)
def test_training_begins_where_it_is_told_to(source, images, trainable_from, first):
    transfer = quick(source, trainable_from=trainable_from).fit(images, LABELS)
    with_weights = [layer.name for layer in transfer.model_.layers if layer.weights]
    assert transfer.trained_layers_ == with_weights[with_weights.index(first) :]


def test_balanced_weights_even_out_the_classes(images):
    labels = np.array(["rare"] * 3 + ["common"] * 15)
    source = backbones.vgg16(SHAPE, width=0.0625, dropout=0.0)
    loss = {}
    for class_weight in (None, "balanced"):
        transfer = quick(
            source,
            class_weight=class_weight,
            learning_rate=1e-12,
            batch_size=18,
            trainable_from="logits",
        ).fit(images, labels)
        loss[class_weight] = transfer.history_["loss"][0]
    own = -np.log(
        transfer.predict_proba(images)[np.arange(18), np.searchsorted(transfer.classes_, labels)]
    )
    assert loss[None] == pytest.approx(own.mean(), rel=1e-3)
    assert loss["balanced"] == pytest.approx((own[:3].mean() + own[3:].mean()) / 2, rel=1e-3)


def test_predict_before_fit_is_refused(source, images):
    with pytest.raises(NotFittedError, match="fit"):
        quick(source).predict(images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainable_from": "blok5"}, "the nearest are 'block5'"),
        ({"epochs": 0}, "epochs=0; expected at least 1"),
        ({"learning_rate": -1}, "learning_rate=-1; expected a number above 0"),
        ({"momentum": 1.5}, r"momentum=1.5; expected a number in \[0, 1\)"),
        ({"class_weight": "even"}, "expected one of None, 'balanced'"),
        ({"precision": "half"}, "expected one of 'float32'"),
    ],
)
def test_wrong_parameters_are_refused(source, images, change, message):
    with pytest.raises(ValueError, match=message):
        quick(source, **change).fit(images, LABELS)


def test_a_source_without_a_convolution_has_no_last_block():
    dense = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="classes")])
    with pytest.raises(ValueError, match="has no convolution, so it has no last block"):
        DomainExtensionTransfer(dense).fit(np.ones((4, 3)), [0, 1, 0, 1])


def test_what_is_no_source_is_refused(images):
    with pytest.raises(TypeError, match=r"source is int; expected what detl\.pretrain returned"):
        quick(5).fit(images, LABELS)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: (x[:, :16], y), r"the model takes \(n, 32, 32, 1\)"),
        (lambda x, y: (x[..., 0], y), r"grey images: X\[\.\.\., np\.newaxis\]"),
        (lambda x, y: (x, y[:-1]), "17 y for 18 rows of X"),
        (lambda x, y: (x, ["lung"] * 18), "one class only, 'lung'"),
        (lambda x, y: (np.where(np.arange(18)[:, None, None, None] == 4, np.nan, x), y), "row 4"),
    ],
)
def test_wrong_data_are_refused(source, images, spoil, message):
    with pytest.raises(ValueError, match=message):
        quick(source).fit(*spoil(images, LABELS))


def test_pixels_between_0_and_1_are_warned_of(source, images):
    with pytest.warns(UserWarning, match="rescaling is inside the model"):
        quick(source).fit(images / 255, LABELS)
