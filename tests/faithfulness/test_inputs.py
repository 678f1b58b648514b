"""What is asked is a classifier, of images and heatmaps that fit it."""

import keras
import numpy as np
import pytest
from keras import layers

import detl
from detl import faithfulness


def noise(n=3, size=(8, 8), seed=0):
    return np.random.default_rng(seed).random((n, *size))


def pixels(n=3, size=(8, 8), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *size, 1)).astype("uint8")


def test_source_models_and_transfers_are_classifiers(tiny_source, tiny_images, tiny_labels):
    transfer = detl.DomainExtensionTransfer(tiny_source, epochs=1, random_state=0)
    transfer.fit(tiny_images, tiny_labels)
    heatmaps = noise(4, (16, 16))

    for carrier, model in ((tiny_source, tiny_source.model), (transfer, transfer.model_)):
        curves = [
            faithfulness.deletion(given, tiny_images[:4], heatmaps, random_state=0)
            for given in (carrier, model)
        ]
        np.testing.assert_array_equal(curves[0].probabilities, curves[1].probabilities)


def test_logits_are_refused_and_a_softmax_behind_them_is_enough(classifier, make_classifier):
    logits = make_classifier(activation=None)

    with pytest.raises(ValueError, match=r"values from -.*no probabilities.*layers.Softmax"):
        faithfulness.deletion(logits, pixels() * 1, noise())
    curve = faithfulness.deletion(keras.Sequential([logits, layers.Softmax()]), pixels(), noise())
    expected = faithfulness.deletion(classifier, pixels(), noise())
    np.testing.assert_allclose(curve.probabilities, expected.probabilities, atol=1e-6)


def test_a_subclassed_model_will_do(brightness):
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = brightness

        def call(self, images):
            return self.inner(images)

    curve = faithfulness.deletion(Subclassed(), pixels(), noise(), target_class=1)

    np.testing.assert_allclose(
        curve.probabilities[:, 0], pixels().mean(axis=(1, 2, 3)) / 255, rtol=1e-5
    )


def test_models_that_are_no_classifiers_are_refused(tiny_source, make_classifier):
    with pytest.raises(TypeError, match=r"model is str; expected a keras.Model"):
        faithfulness.deletion("vgg16", pixels(), noise())
    with pytest.raises(ValueError, match="DomainExtensionTransfer is not fitted; call fit first"):
        faithfulness.deletion(detl.DomainExtensionTransfer(tiny_source), pixels(), noise())
    with pytest.raises(ValueError, match=r"gives \('n', 8, 8, 1\); expected \(n, classes\)"):
        faithfulness.deletion(
            keras.Sequential([layers.Input((8, 8, 1)), layers.ReLU()]), pixels(), noise()
        )
    broken = make_classifier()
    broken.get_layer("head").bias.assign([np.nan, 0, 0])
    with pytest.raises(ValueError, match="NaN or infinity; training may have diverged"):
        faithfulness.deletion(broken, pixels(), noise())


def test_a_single_unit_has_two_classes(make_classifier):
    model, images = make_classifier(activation="sigmoid", units=1), pixels()

    zero, one = (
        faithfulness.deletion(model, images, noise(), target_class=k, random_state=0)
        for k in (0, 1)
    )

    np.testing.assert_allclose(zero.probabilities, 1 - one.probabilities, atol=1e-6)


def test_several_sigmoids_are_taken_as_they_are(make_classifier):
    model, images = make_classifier(activation="sigmoid"), pixels()

    curve = faithfulness.deletion(model, images, noise(), target_class=2)

    expected = keras.ops.convert_to_numpy(model(images))
    np.testing.assert_allclose(curve.probabilities[:, 0], expected[:, 2])


def test_the_class_is_the_predicted_one_unless_another_is_asked_for(classifier):
    model, images, heatmaps = classifier, pixels(5), noise(5)
    probabilities = keras.ops.convert_to_numpy(model(images))

    predicted = faithfulness.deletion(model, images, heatmaps)
    asked = faithfulness.deletion(model, images, heatmaps, target_class=[0, 1, 2, 1, 0])

    np.testing.assert_array_equal(predicted.class_indices, probabilities.argmax(axis=1))
    np.testing.assert_allclose(predicted.probabilities[:, 0], probabilities.max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(
        asked.probabilities[:, 0], probabilities[range(5), [0, 1, 2, 1, 0]], rtol=1e-5
    )


def test_images_and_heatmaps_are_of_one_size_and_number(classifier):
    with pytest.raises(ValueError, match=r"\(2, 8, 8\); expected \(3, 8, 8\), one per image"):
        faithfulness.deletion(classifier, pixels(), noise(2))
    with pytest.raises(ValueError, match="the model takes"):
        faithfulness.deletion(classifier, pixels(size=(9, 9)), noise(size=(9, 9)))
