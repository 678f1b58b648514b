import keras
import numpy as np
import pytest

from detl import Augmentation, backbones, load_source, pretrain
from detl.pretraining import _adam
from detl.tail import weights_digest

SHAPE = (32, 32, 1)
N = 40


def data():
    generator = np.random.default_rng(0)
    labels = np.array(["dim", "bright"] * (N // 2))
    images = generator.integers(0, 120, (N, *SHAPE))
    images[labels == "bright"] += 100
    return images.astype("uint8"), labels


def backbone():
    return backbones.vgg16(SHAPE, width=0.0625)


def train(**changes):
    images, labels = data()
    return pretrain(
        backbone(), images, labels, **{"epochs": 2, "random_state": 0, "verbose": 0, **changes}
    )


@pytest.fixture(scope="module")
def source():
    return train(epochs=4)


def test_the_same_seed_gives_the_same_weights_whatever_ran_before():
    first = train()
    keras.utils.set_random_seed(99)
    second, other = train(), train(random_state=1)
    assert weights_digest(first.model) == weights_digest(second.model)
    assert weights_digest(first.model) != weights_digest(other.model)


def test_the_backbone_is_left_as_it_is():
    network = backbone()
    digest = weights_digest(network)
    images, labels = data()
    pretrain(network, images, labels, epochs=1, verbose=0)
    assert weights_digest(network) == digest


def test_the_weights_of_the_best_validation_accuracy_are_kept():
    images, labels = data()
    validation = images[::2], labels[::2]  # rows of one class each: 0, 2, ... are "dim"
    validation = np.concatenate([images[:6], images[:6]]), np.tile(labels[:6], 2)
    source = train(validation_data=validation, epochs=5, learning_rate=0.003)
    history = source.history["val_accuracy"]
    assert source.best_epoch == int(np.argmax(history))
    predicted = source.classes[source.model.predict(validation[0], verbose=0).argmax(axis=1)]
    assert np.mean(predicted == validation[1]) == pytest.approx(max(history))


def test_saving_keeps_outputs_classes_and_history(source, tmp_path):
    loaded = load_source(source.save(tmp_path / "deeper" / "source.keras"))
    images, _ = data()
    np.testing.assert_array_equal(
        loaded.model.predict(images, verbose=0), source.model.predict(images, verbose=0)
    )
    assert loaded.classes.tolist() == source.classes.tolist() == ["bright", "dim"]
    assert loaded.history == source.history
    assert loaded.best_epoch == source.best_epoch
    assert [path.name for path in (tmp_path / "deeper").iterdir()] == ["source.keras"]
    assert keras.saving.load_model(tmp_path / "deeper" / "source.keras") is not None


def test_a_file_of_another_kind_is_refused(tmp_path):
    backbone().save(tmp_path / "plain.keras")
    with pytest.raises(ValueError, match=r"Load it with keras\.saving\.load_model"):
        load_source(tmp_path / "plain.keras")
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(ValueError, match=r"is not a \.keras file"):
        load_source(tmp_path / "text.keras")
    with pytest.raises(FileNotFoundError, match="No source model at"):
        load_source(tmp_path / "missing.keras")


def test_a_path_of_another_ending_is_refused(source, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.keras"):
        source.save(tmp_path / "source.h5")


def test_the_rate_rises_over_the_warm_up_and_falls_along_a_cosine_to_zero():
    schedule = _adam(1e-3, steps=10, epochs=5, warmup_epochs=1, gradient_clip=1.0)._learning_rate
    assert float(schedule(5)) == pytest.approx(5e-4)
    assert float(schedule(10)) == pytest.approx(1e-3)
    assert float(schedule(30)) == pytest.approx(5e-4)
    assert float(schedule(50)) == pytest.approx(0, abs=1e-9)
    literal = _adam(1e-3, steps=10, epochs=5, warmup_epochs=0, gradient_clip=None)
    assert float(literal._learning_rate(0)) == pytest.approx(1e-3)
    assert literal.global_clipnorm is None


def test_bfloat16_training_returns_a_float32_model():
    model = train(precision="mixed_bfloat16", epochs=1).model
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_balanced_weights_count_every_class_alike():
    images, _ = data()
    labels = np.array(["rare"] * 10 + ["common"] * 30)
    validation = images[:4], labels[[0, 1, 20, 21]]
    plain, balanced = (
        train_on(images, labels, validation, class_weight) for class_weight in (None, "balanced")
    )
    assert plain != balanced


def train_on(images, labels, validation, class_weight):
    source = pretrain(
        backbone(),
        images,
        labels,
        validation_data=validation,
        class_weight=class_weight,
        epochs=1,
        random_state=0,
        verbose=0,
    )
    return source.history["loss"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs=0; expected at least 1"),
        ({"learning_rate": 0}, "learning_rate=0; expected a number above 0"),
        ({"warmup_epochs": -1}, "warmup_epochs=-1; expected 0 or more"),
        ({"gradient_clip": 0}, "gradient_clip=0; expected a number above 0"),
        ({"class_weight": "even"}, "expected one of None, 'balanced'"),
        ({"random_state": -1}, "expected a whole number >= 0"),
        ({"groups": [1, 2]}, "2 groups for 40"),
        ({"validation_data": (data()[0], ["other"] * N)}, r"training labels lack: \['other'\]"),
        ({"validation_data": (data()[0], data()[1][:3])}, "3 validation labels for 40"),
    ],
)
def test_wrong_arguments_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        train(**changes)


def test_what_is_no_network_is_refused():
    with pytest.raises(TypeError, match=r"backbone is str; expected a functional keras\.Model"):
        pretrain("vgg16", *data())
    with pytest.raises(TypeError, match="validation_data is not a pair"):
        train(validation_data=data()[0])


def test_mirroring_flips_about_half_of_the_images():
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 1)).astype("uint8")
    still = Augmentation(rotation=0, scaling=0)
    seen = np.asarray(still(images, np.random.default_rng(0)))
    flipped = (seen == images[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (seen == images).all(axis=(1, 2, 3))
    assert (flipped ^ kept).all()
    assert 70 < flipped.sum() < 130


def test_a_quarter_turn_is_numpys():
    image = np.arange(36, dtype="float32").reshape(1, 6, 6, 1)
    augmentation = Augmentation(rotation=90, scaling=0, mirroring=False)
    turned = {}

    class Extreme:
        def __init__(self, sign):
            self.sign = sign

        def uniform(self, low, high, n):
            return np.full(n, high if self.sign > 0 else low)

        def random(self, n):
            return np.ones(n)

    for sign in (1, -1):
        turned[sign] = np.asarray(augmentation(image, Extreme(sign)))[0, :, :, 0]
    expected = [np.rot90(image[0, :, :, 0], k) for k in (1, -1)]
    for found in turned.values():
        assert any(np.allclose(found, rotated, atol=1e-3) for rotated in expected)
    assert not np.allclose(turned[1], turned[-1])


@pytest.mark.parametrize(
    ("amounts", "message"),
    [
        ({"rotation": 200}, "rotation=200; expected degrees between 0 and 180"),
        ({"scaling": 1.0}, r"scaling=1.0; expected a share in \[0, 1\)"),
    ],
)
def test_wrong_amounts_are_refused(amounts, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**amounts)
