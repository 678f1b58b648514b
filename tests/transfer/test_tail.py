"""The tail is stochastic gradient descent on the features, from the same start every time."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import log_softmax, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detl.networks.digests import values_digest, weights_digest
from detl.pretraining.batches import balanced_weights
from detl.transfer.tail import Tail

N, N_COLUMNS, N_CLASSES = 30, 4, 3
needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow records what a step sees"
)


@pytest.fixture(scope="module")
def features():
    table = np.random.default_rng(0).normal(size=(N, N_COLUMNS)).astype("float32")
    table[:, 0] = np.arange(N)  # the row's number, for Recorder
    return table


@pytest.fixture(scope="module")
def targets():
    return np.array([0] * 18 + [1] * 8 + [2] * 4)


class Recorder(layers.Layer):
    """Write down which rows each training step sees, and take their numbers away."""

    def __init__(self):
        super().__init__()
        self.steps = []
        self.traces = {"training": 0, "inference": 0}

    def write_down(self, numbers):
        self.steps.append(numbers.astype(int))
        return numbers

    def call(self, table, training=False):
        self.traces["training" if training else "inference"] += 1
        numbers, columns = table[:, 0], table[:, 1:]
        if not training:
            return columns
        import tensorflow as tf

        seen = tf.numpy_function(self.write_down, [numbers], "float32")
        return columns + 0 * tf.reshape(seen, (-1, 1))


def linear_tail(recorder=None, *, learning_rate=0.05, **settings):
    """Return softmax regression, whose gradient has a closed form."""
    table = keras.Input((N_COLUMNS,))
    columns = table[:, 1:] if recorder is None else recorder(table)
    model = keras.Model(table, layers.Dense(N_CLASSES)(columns))
    return Tail(model, learning_rate=learning_rate, momentum=0.9, **settings)


def noisy_tail(**settings):
    """Return a tail with statistics and with noise."""
    table = keras.Input((N_COLUMNS,))
    x = layers.Dense(8, kernel_initializer=keras.initializers.HeNormal(seed=0))(table)
    x = layers.Dropout(0.5)(layers.BatchNormalization()(x))
    model = keras.Model(table, layers.Dense(N_CLASSES)(x))
    return Tail(model, momentum=0.9, **{"learning_rate": 0.05, **settings})


def train(tail, features, targets, **changes):
    settings = {
        "rows": np.arange(N),
        "epochs": 2,
        "batch_size": 8,
        "class_weight": None,
        "seed": np.random.SeedSequence(5),
    }
    return tail.fit(features, targets, **{**settings, **changes})


# ------------------------------------------------------------------------------------- the training


def descended(start, steps, features, targets, weights, smoothing=0.0):
    """Minimise the cross-entropy by hand: SGD with rate 0.05 and momentum 0.9, in float64."""
    parameters = [values.astype("float64") for values in start]
    velocity = [np.zeros_like(values) for values in parameters]
    for rows in steps:
        x = features[rows, 1:].astype("float64")
        surplus = softmax(x @ parameters[0] + parameters[1], axis=1)
        surplus -= (1 - smoothing) * np.eye(N_CLASSES)[targets[rows]] + smoothing / N_CLASSES
        surplus *= weights[rows, np.newaxis] / len(rows)
        for k, gradient in enumerate((x.T @ surplus, surplus.sum(axis=0))):
            velocity[k] = 0.9 * velocity[k] - 0.05 * gradient
            parameters[k] = parameters[k] + velocity[k]
    return parameters


@needs_tensorflow
@pytest.mark.parametrize(
    ("class_weight", "per_class"),
    [
        (None, [1, 1, 1]),
        ("balanced", [24 / (3 * 16), 24 / (3 * 4), 24 / (3 * 4)]),
        # Only ratios count: 24 / (16 x 10 + 4 x 20 + 4 x 60) = 0.05 makes their mean 1.
        (np.array([10.0, 20.0, 60.0]), [0.5, 1, 3]),
    ],
)
def test_training_is_gradient_descent_with_momentum(features, targets, class_weight, per_class):
    rows = np.r_[0:16, 18:22, 26:30]
    still = linear_tail(learning_rate=1e-30)
    train(still, features, targets)
    start = still.model.get_weights()

    recorder = Recorder()
    tail = linear_tail(recorder)
    train(tail, features, targets, rows=rows, epochs=3, class_weight=class_weight)
    weights = np.array(per_class, dtype="float64")[targets]
    expected = descended(start, recorder.steps, features, targets, weights)
    for found, by_hand in zip(tail.model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, by_hand, atol=1e-6)
    assert np.abs(expected[0] - start[0]).max() > 0.01


@needs_tensorflow
@pytest.mark.parametrize(
    "settings", [{"label_smoothing": 0.3}, {"learning_rate": 0.001, "head_learning_rate": 0.05}]
)
def test_labels_are_smoothed_and_the_new_layer_has_its_own_rate(features, targets, settings):
    still = linear_tail(learning_rate=1e-30)
    train(still, features, targets)
    start = still.model.get_weights()
    recorder = Recorder()
    tail = linear_tail(recorder, **settings)
    train(tail, features, targets, epochs=3)
    smoothing = settings.get("label_smoothing", 0.0)
    expected = descended(start, recorder.steps, features, targets, np.ones(N), smoothing)
    for found, by_hand in zip(tail.model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(found, by_hand, atol=1e-6)


def test_the_layers_below_keep_their_rate(features, targets):
    def weights_after_a_step(**settings):
        tail = noisy_tail(**settings)
        train(tail, features, targets, epochs=1, batch_size=N)
        return tail.model.get_weights()

    plain, other = weights_after_a_step(), weights_after_a_step(head_learning_rate=0.5)
    *_, kernel, bias = (np.abs(a - b).max() for a, b in zip(plain, other, strict=True))
    for a, b in zip(plain[:-2], other[:-2], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert kernel > 0.01
    assert bias > 0.001


@needs_tensorflow
def test_every_epoch_sees_the_given_rows_once_and_no_other(features, targets):
    recorder = Recorder()
    rows = np.arange(1, N, 2)
    train(linear_tail(recorder), features, targets, rows=rows, epochs=3, batch_size=4)
    assert [len(step) for step in recorder.steps] == [4, 4, 4, 3] * 3
    epochs = [np.concatenate(recorder.steps[k : k + 4]) for k in (0, 4, 8)]
    for epoch in epochs:
        assert sorted(epoch) == rows.tolist()
    assert any((epoch != epochs[0]).any() for epoch in epochs[1:])


@needs_tensorflow
def test_the_order_of_rows_depends_on_the_seed_alone(features, targets):
    orders = []
    for global_seed, seed in ((1, 5), (2, 5), (2, 6)):
        keras.utils.set_random_seed(global_seed)
        recorder = Recorder()
        train(linear_tail(recorder), features, targets, seed=np.random.SeedSequence(seed))
        orders.append(np.concatenate(recorder.steps).tolist())
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_history_holds_the_loss_and_the_accuracy(features, targets, class_weight, smoothing):
    tail = linear_tail(learning_rate=1e-30, label_smoothing=smoothing)
    history = train(tail, features, targets, epochs=1, batch_size=N, class_weight=class_weight)
    kernel, bias = tail.model.get_weights()
    logits = features[:, 1:] @ kernel + bias
    wanted = (1 - smoothing) * np.eye(N_CLASSES)[targets] + smoothing / N_CLASSES
    losses = -(wanted * log_softmax(logits, axis=1)).sum(axis=1)
    expected = losses.mean()
    if class_weight == "balanced":
        expected = np.mean([losses[targets == target].mean() for target in range(N_CLASSES)])
    assert history["loss"] == pytest.approx([expected], rel=1e-5)
    assert history["accuracy"] == pytest.approx([np.mean(logits.argmax(axis=1) == targets)])


def test_a_loss_that_diverges_is_warned_of(features, targets):
    tail = linear_tail(learning_rate=1e38)
    with pytest.warns(ConvergenceWarning, match=r"learning_rate=1e\+38 is too high here"):
        train(tail, features, targets)
    tail = linear_tail(learning_rate=1.0, head_learning_rate=1e38)
    both = r"learning_rate=1 or head_learning_rate=1e\+38 is too high here"
    with pytest.warns(ConvergenceWarning, match=both):
        train(tail, features, targets)


# ---------------------------------------------------------------------------------------- the reset


def test_a_fit_leaves_no_trace_in_the_next(features, targets):
    tail = noisy_tail()
    first = train(tail, features, targets, rows=np.arange(20))
    digest = weights_digest(tail.model)
    # More epochs, other rows, another seed: weights, statistics, momentum and noise all move.
    train(tail, features, targets, rows=np.arange(10, N), epochs=4, seed=np.random.SeedSequence(6))
    assert weights_digest(tail.model) != digest
    assert train(tail, features, targets, rows=np.arange(20)) == first
    assert weights_digest(tail.model) == digest


def test_the_seed_decides_the_new_layer_and_the_noise(features, targets):
    digests = set()
    for seed in (5, 5, 6):
        tail = noisy_tail()
        train(tail, features, targets, seed=np.random.SeedSequence(seed))
        digests.add(weights_digest(tail.model))
    assert len(digests) == 2


def test_a_seed_sequence_is_not_used_up(features, targets):
    seed = np.random.SeedSequence(5)
    tail = noisy_tail()
    histories = [train(tail, features, targets, seed=seed) for _ in range(2)]
    assert histories[0] == histories[1]
    assert seed.n_children_spawned == 0


@needs_tensorflow
def test_the_model_is_traced_once_however_often_it_is_fitted(features, targets):
    recorder = Recorder()
    tail = linear_tail(recorder)
    recorder.traces["training"] = 0
    for length in (30, 17, 24, 9):  # whose last batches have 6, 1, 8 and 1 rows
        train(tail, features, targets, rows=np.arange(length))
    assert recorder.traces["training"] == 1


# ---------------------------------------------------------------------------------- the predictions


def test_probabilities_are_the_softmax_of_the_logits_row_by_row(features, targets):
    tail = linear_tail()
    train(tail, features, targets)
    kernel, bias = tail.model.get_weights()
    rows = np.array([7, 3, 29, 3])
    expected = softmax(features[rows, 1:] @ kernel + bias, axis=1)
    for batch_size in (1, 3, 4, 100):
        found = tail.probabilities(features, rows=rows, batch_size=batch_size)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_probabilities_are_without_noise_and_use_the_stored_statistics(features, targets):
    tail = noisy_tail()
    train(tail, features, targets)
    rows = np.arange(6)
    together = tail.probabilities(features, rows=rows, batch_size=6)
    one_by_one = tail.probabilities(features, rows=rows, batch_size=1)
    np.testing.assert_allclose(one_by_one, together, atol=1e-6)


# --------------------------------------------------------------------------------------- the digest


def normalised_network():
    table = keras.Input((3,))
    x = layers.Dense(2, kernel_initializer=keras.initializers.HeNormal(seed=0))(table)
    return keras.Model(table, layers.BatchNormalization()(x))


def test_equal_weights_have_equal_digests_whatever_their_names():
    assert weights_digest(normalised_network()) == weights_digest(normalised_network())


@pytest.mark.parametrize("index", range(6))
def test_the_last_bit_of_any_weight_or_statistic_changes_the_digest(index):
    model = normalised_network()
    before = weights_digest(model)
    weights = model.get_weights()
    weights[index].flat[-1] = np.nextafter(weights[index].flat[-1], np.float32(9))
    model.set_weights(weights)
    assert weights_digest(model) != before


def test_the_digest_of_the_start_is_that_of_the_layers_below_the_head(features, targets):
    tail = noisy_tail()
    below = tail.model.get_weights()[:-2]
    expected = values_digest(below)
    train(tail, features, targets)  # what is trained is not what a fit begins with
    assert tail.start_digest == expected
    assert values_digest(tail.model.get_weights()[:-2]) != expected


def test_shapes_and_number_formats_are_part_of_the_digest():
    def zeros(units, n_columns, dtype):
        layer = layers.Dense(units, kernel_initializer="zeros", use_bias=False, dtype=dtype)
        return weights_digest(keras.Sequential([keras.Input((n_columns,)), layer]))

    digests = {
        zeros(2, 3, "float32"),
        zeros(3, 2, "float32"),
        zeros(2, 3, "float16"),
        zeros(2, 3, "bfloat16"),
    }
    assert len(digests) == 4


# --------------------------------------------------------------- where it begins, and how it goes


def test_a_linear_probe_of_the_rows_is_where_the_new_layer_begins(features, targets):
    columns = features[:, 1:] + targets[:, np.newaxis]
    tail = linear_tail(head_start="linear_probe", learning_rate=1e-12)
    rows = np.arange(0, N, 2)
    table = np.concatenate([features[:, :1], columns], axis=1)
    train(tail, table, targets, rows=rows, class_weight="balanced")
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
    regression.fit(
        columns[rows],
        targets[rows],
        logisticregression__sample_weight=balanced_weights(targets, rows)[rows],
    )
    np.testing.assert_allclose(
        tail.probabilities(table, rows=np.arange(N), batch_size=8),
        regression.predict_proba(columns),
        atol=1e-4,
    )


def test_the_network_below_the_new_layer_takes_one_array():
    tail = linear_tail()  # of a list PyTorch would warn in every fit
    assert isinstance(tail._below_head.input, keras.KerasTensor)


def test_a_cosine_takes_the_rate_from_its_start_nearly_to_zero_in_every_fit(features, targets):
    rates = []

    class Rates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    tail = linear_tail(schedule="cosine", learning_rate=0.1)
    for _ in range(2):
        history = train(tail, features, targets, epochs=4, callbacks=[Rates()])
    expected = 0.05 * (1 + np.cos(np.pi * np.arange(4) / 4))
    np.testing.assert_allclose(rates, [*expected, *expected], rtol=1e-6)
    assert set(history) == {"loss", "accuracy"}


@needs_tensorflow
def test_held_out_rows_are_never_trained_on_and_share_no_group(features, targets):
    groups = np.arange(N) // 2
    recorder = Recorder()
    history = train(
        linear_tail(recorder), features, targets, groups=groups, validation_split=0.5, epochs=3
    )
    seen = {int(row) for step in recorder.steps for row in step}
    held_out = set(range(N)) - seen
    assert abs(len(held_out) - N / 2) <= 4
    assert not {groups[row] for row in seen} & {groups[row] for row in held_out}
    assert [len(values) for values in history.values()] == [3] * 4
    assert set(history) == {"loss", "accuracy", "val_loss", "val_accuracy"}


def test_the_best_weights_are_kept_when_the_held_out_loss_no_longer_falls(features, targets):
    tail = linear_tail(learning_rate=3.0)
    history = train(tail, features, targets, epochs=50, validation_split=0.25, early_stopping=2)
    losses = history["val_loss"]
    assert len(losses) < 50
    assert np.argmin(losses) == len(losses) - 3
    again = train(tail, features, targets, epochs=50, validation_split=0.25, early_stopping=2)
    assert again == history


def test_a_function_makes_new_callbacks_for_every_fit(features, targets):
    made = []

    def callbacks():
        made.append(keras.callbacks.History())
        return made[-1:]

    tail = linear_tail()
    for _ in range(2):
        train(tail, features, targets, callbacks=callbacks)
    assert [len(one.history["loss"]) for one in made] == [2, 2]


def test_a_share_that_would_lack_a_class_is_refused(features, targets):
    with pytest.raises(ValueError, match=r"validation_split=0.2 of 30 training images would lack"):
        train(linear_tail(), features, targets, validation_split=0.2)


def test_without_two_classes_or_finite_features_the_new_layer_begins_at_random(features, targets):
    settings = {"learning_rate": 1e-12, "head_start": "linear_probe"}
    rows = np.flatnonzero(targets == 0)
    probed, random = linear_tail(**settings), linear_tail(learning_rate=1e-12)
    for tail in (probed, random):
        train(tail, features, targets, rows=rows, epochs=1)
    for one, other in zip(probed.model.get_weights(), random.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    with pytest.warns(ConvergenceWarning, match="The loss was nan"):
        train(probed, np.where(features > 1, np.inf, features), targets)
