import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from detl.transfer.linear_probe import linear_probe


def drawn(n_classes, n=60, n_features=5):
    generator = np.random.default_rng(0)
    targets = np.arange(n) % n_classes
    features = generator.normal(3, 1, (n, n_features)) * np.arange(n_features)  # one is constant
    features[:, 1] += targets
    return features, targets


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_layer_gives_the_probabilities_of_the_regression(n_classes, is_weighted):
    features, targets = drawn(n_classes)
    weights = 1 + (targets == 1) if is_weighted else None
    kernel, bias = linear_probe(features, targets, n_classes, weights)
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
    regression.fit(features, targets, logisticregression__sample_weight=weights)
    np.testing.assert_allclose(
        softmax(features @ kernel + bias, axis=1), regression.predict_proba(features), atol=1e-6
    )


def test_a_class_that_is_missing_is_as_likely_as_half_an_image():
    features, targets = drawn(2)
    kernel, bias = linear_probe(features, 2 * targets, 3)
    found = softmax(features.mean(axis=0) @ kernel + bias)
    assert found[1] < 0.02
    assert found[0] > 0.3
    assert found[2] > 0.3


def test_more_features_than_images_do_not_make_it_certain():
    generator = np.random.default_rng(0)
    features, targets = generator.normal(size=(20, 500)), np.arange(20) % 2
    kernel, bias = linear_probe(features, targets, 2)
    assert softmax(features @ kernel + bias, axis=1).max() < 0.99


def test_one_thread_computes_whatever_the_process_has(monkeypatch):
    counts = set()
    fit = LogisticRegression.fit

    def watched(self, *args, **kwargs):
        counts.update(of["num_threads"] for of in threadpool_info() if of["user_api"] == "blas")
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(LogisticRegression, "fit", watched)
    with threadpool_limits(2, user_api="blas"):
        linear_probe(*drawn(2), 2)
    assert counts == {1}
