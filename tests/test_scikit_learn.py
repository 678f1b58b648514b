"""The transfer is a scikit-learn classifier, and scikit-learn's tools keep the source's weights."""

import pickle

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.base import clone, is_classifier
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import (
    check_estimators_overwrite_params,
    parametrize_with_checks,
)

from detl import DomainExtensionTransfer, SourceModel
from detl.tail import weights_digest

# ---------------------------------------------------------------------------- scikit-learn's checks


@keras.saving.register_keras_serializable(package="detl_tests")
class FixedWidth(layers.Layer):
    """Zeros to the right, so that one source serves tables of any number of columns."""

    def call(self, rows):
        width = 20
        return keras.ops.reshape(keras.ops.pad(rows, [[0, 0], [0, width]])[:, :width], (-1, width))


def table_source():
    rows = keras.Input((None,))
    x = FixedWidth()(rows)
    for name in ("frozen", "hidden"):
        initializer = keras.initializers.HeNormal(seed=len(name))
        x = layers.Dense(32, activation="relu", kernel_initializer=initializer, name=name)(x)
    return keras.Model(rows, layers.Dense(2, activation="softmax", name="classes")(x))


def table_classifier(source):
    return DomainExtensionTransfer(
        source, trainable_from="hidden", learning_rate=0.1, epochs=12, batch_size=32
    )


@parametrize_with_checks(
    [table_classifier(table_source())],
    expected_failed_checks=lambda _: {
        "check_estimators_overwrite_params": (
            "it compares pickles, and Keras writes the time into the pickle of a model; "
            "a source given as a path passes below"
        )
    },
    xfail_strict=False,  # within one second the pickles may be equal
)
def test_every_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


def test_fit_changes_none_of_its_parameters(tmp_path):
    source = SourceModel(
        model=table_source(), classes=np.array(["a", "b"]), history={}, best_epoch=0
    )
    path = source.save(tmp_path / "source.keras")
    check_estimators_overwrite_params("DomainExtensionTransfer", table_classifier(str(path)))
