"""A fitted classifier is evaluated on other images, and what it was trained on is found."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import detl
from detl import evaluate


def flat(images):
    return images.reshape(len(images), -1) / 255


@pytest.fixture(scope="module")
def classifier(tiny_images, tiny_labels):
    """Return a pipeline that is fitted on the first half."""
    pipeline = make_pipeline(FunctionTransformer(flat), LogisticRegression())
    return pipeline.fit(tiny_images[:20], tiny_labels[:20])


def test_predictions_are_those_of_the_classifier(classifier, tiny_images, tiny_labels):
    found = evaluate(classifier, tiny_images[20:], tiny_labels[20:], random_state=0)
    np.testing.assert_allclose(
        found.probabilities, classifier.predict_proba(tiny_images[20:]), rtol=1e-6
    )
    np.testing.assert_array_equal(found.predictions, classifier.predict(tiny_images[20:]))
    assert found.decisions is None
    assert found.leaks == ()


def test_a_transfer_is_evaluated_like_any_classifier(tiny_source, tiny_images, tiny_labels):
    transfer = detl.DomainExtensionTransfer(tiny_source, epochs=1, random_state=0)
    transfer.fit(tiny_images[:20], tiny_labels[:20])
    found = evaluate(transfer, tiny_images[20:], tiny_labels[20:], random_state=0)
    np.testing.assert_array_equal(found.probabilities, transfer.predict_proba(tiny_images[20:]))


def test_where_a_classifier_gives_no_probabilities_its_decisions_stand_for_them(
    tiny_images, tiny_labels
):
    machine = make_pipeline(FunctionTransformer(flat), RidgeClassifier())
    machine.fit(tiny_images[:20], tiny_labels[:20])
    found = evaluate(machine, tiny_images[20:], tiny_labels[20:])
    np.testing.assert_array_equal(found.predictions, machine.predict(tiny_images[20:]))
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-6)


def test_equal_seeds_give_equal_intervals(classifier, tiny_images, tiny_labels):
    first, second = (
        evaluate(classifier, tiny_images, tiny_labels, random_state=3).interval for _ in range(2)
    )
    assert first == second


def test_groups_that_the_internal_result_has_are_found(
    classifier, tiny_images, tiny_labels, make_result
):
    internal = make_result(tiny_labels, groups=np.arange(40) // 2)
    groups = np.r_[0, 0, 100 + np.arange(18)]
    with pytest.warns(
        UserWarning, match=r"1 groups have names that were trained on, such as 0: 2 of 20 images."
    ):
        found = evaluate(
            classifier, tiny_images[20:], tiny_labels[20:], groups=groups, internal=internal
        )
    assert len(found.leaks) == 1
    with pytest.raises(ValueError, match=r"2 of 20 images. .* Leave these images out."):
        evaluate(
            classifier,
            tiny_images[20:],
            tiny_labels[20:],
            groups=groups,
            internal=internal,
            on_leak="raise",
        )


def test_a_transfer_knows_its_training_images_and_groups_again(
    tiny_source, tiny_images, tiny_labels, tmp_path
):
    transfer = detl.DomainExtensionTransfer(tiny_source, epochs=1, random_state=0)
    transfer.fit(tiny_images[:20], tiny_labels[:20], groups=np.arange(20))
    loaded = detl.load(transfer.save(tmp_path / "transfer.keras"))
    for classifier in (transfer, loaded):
        found = evaluate(
            classifier,
            tiny_images[18:],
            tiny_labels[18:],
            groups=np.arange(18, 40) % 39,
            on_leak="ignore",
        )
        of_groups, of_images = found.leaks
        assert "3 groups have names that were trained on, such as 0, 18, 19: 3 of 22" in of_groups
        assert of_images == "2 of 22 images were trained on, such as image 0."


def test_a_number_is_the_same_name_with_a_point(classifier, tiny_images, tiny_labels):
    found = evaluate(
        classifier,
        tiny_images[20:],
        tiny_labels[20:],
        groups=np.arange(20.0),
        seen_groups=[3, 50],
        on_leak="ignore",
    )
    assert "such as 3: 1 of 20 images" in found.leaks[0]


def test_groups_and_images_that_one_names_are_looked_for(classifier, tiny_images, tiny_labels):
    found = evaluate(
        classifier,
        tiny_images[20:],
        tiny_labels[20:],
        groups=np.arange(20) // 2,
        seen_groups=[3, 50],
        seen_images=np.concatenate([tiny_images[:5], tiny_images[30:31]]),
        on_leak="ignore",
    )
    assert found.leaks[0].startswith(
        "1 groups have names that were trained on, such as 3: 2 of 20 images. If both hospitals"
    )
    assert found.leaks[1].startswith("1 of 20 images are copies of seen_images, such as image 10 ")


def test_labels_of_other_names_are_refused(classifier, tiny_images):
    with pytest.raises(
        ValueError, match=r"such as 'x', its classes are \['bright', 'dim'\]. Name both alike"
    ):
        evaluate(classifier, tiny_images, ["x"] * 40)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"internal": "result"}, TypeError, "internal is a str; expected a CrossValidationResult"),
        ({"seen_groups": [1]}, ValueError, "seen_groups without groups; give both"),
        ({"groups": [1, 2]}, ValueError, "2 groups for 40 images"),
        ({"on_leak": "stop"}, ValueError, "on_leak='stop'; expected"),
        ({"random_state": "x"}, ValueError, "random_state='x'"),
    ],
)
def test_wrong_arguments_are_refused(
    classifier, tiny_images, tiny_labels, settings, error, message
):
    with pytest.raises(error, match=message):
        evaluate(classifier, tiny_images, tiny_labels, **settings)


def test_an_internal_result_of_other_classes_is_refused(
    classifier, tiny_images, tiny_labels, result
):
    with pytest.raises(ValueError, match=r"internal has the classes \['covid', 'normal', 'other'"):
        evaluate(classifier, tiny_images, tiny_labels, internal=result)


def test_what_is_not_fitted_is_refused(tiny_images, tiny_labels):
    with pytest.raises(ValueError, match="a DummyClassifier that is not fitted; call fit first"):
        evaluate(DummyClassifier(), tiny_images, tiny_labels)


def test_probabilities_that_are_none_are_refused(tiny_images, tiny_labels):
    class Broken(DummyClassifier):
        def predict_proba(self, X):
            return np.full((len(X), 2), np.nan)

    with pytest.raises(ValueError, match="Broken gives probabilities that are negative or no num"):
        evaluate(Broken().fit(tiny_images, tiny_labels), tiny_images, tiny_labels)
