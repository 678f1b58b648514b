"""The weights that a new last layer starts from: a logistic regression on what it sees."""

from __future__ import annotations

import warnings

import numpy as np
from scipy import special
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

_PENALTY = 0.01  # scikit-learn's C, of features with standard deviation 1


def linear_probe(
    features: np.ndarray, targets: np.ndarray, n_classes: int, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a regularised logistic regression and return it as a fully connected layer.

    Parameters
    ----------
    features : numpy.ndarray of shape (n, n_features)
        What the layer sees of each image.
    targets : numpy.ndarray of int, shape (n,)
        Indices of classes; one that is not among them gets the probability of half an image.
    n_classes : int
        Number of classes.
    weights : numpy.ndarray of shape (n,), optional
        Of each image in the loss.

    Returns
    -------
    kernel : numpy.ndarray of shape (n_features, n_classes)
    bias : numpy.ndarray of shape (n_classes,)
        The softmax of ``features @ kernel + bias`` are the probabilities of the regression.

    References
    ----------
    Kumar, Raghunathan, Jones, Ma, Liang 2022, "Fine-Tuning can Distort Pretrained Features and
    Underperform Out-of-Distribution", ICLR: probe first, then fine-tune.
    """
    scaler = StandardScaler().fit(features)
    regression = LogisticRegression(C=_PENALTY, max_iter=500)
    # Several threads wait for each other, and the longer the busier the machine is
    # (benchmarks/probe_threads.py).
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        # It is a start: where it has not converged, training goes on from there.
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(scaler.transform(features), targets, sample_weight=weights)
    slopes, intercepts = regression.coef_, regression.intercept_
    if len(slopes) == 1:  # of two classes it says only one
        slopes, intercepts = (
            np.concatenate([-half, half]) for half in (slopes / 2, intercepts / 2)
        )
    kernel = np.zeros((features.shape[1], n_classes))
    bias = np.full(n_classes, special.logsumexp(intercepts) - np.log(2 * len(features)))
    kernel[:, regression.classes_] = slopes.T / scaler.scale_[:, np.newaxis]
    bias[regression.classes_] = intercepts - (scaler.mean_ / scaler.scale_) @ slopes.T
    return kernel, bias
