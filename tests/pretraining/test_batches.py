"""Batches are each epoch's rows in a seeded order."""

import gc
import itertools
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_sample_weight

from detl.pretraining.batches import (
    BatchStream,
    balanced_weights,
    steps_per_epoch,
    training_batches,
)

N = 11
INPUTS = 10 * np.arange(N)
TARGETS = np.arange(N) + 100


def epochs(n_epochs, *, seed=0, batch_size=4, n_rows=N, **changes):
    """Return the batches of some epochs, each a list of tuples."""
    generator = np.random.default_rng(seed)
    batches = training_batches(
        INPUTS, TARGETS, batch_size=batch_size, generator=generator, **changes
    )
    n_steps = steps_per_epoch(n_rows, batch_size)
    return [list(itertools.islice(batches, n_steps)) for _ in range(n_epochs)]


def rows_of(epoch):
    return [(batch[0] // 10).tolist() for batch in epoch]


@pytest.mark.parametrize("batch_size", [1, 4, 11, 20])
@pytest.mark.parametrize("rows", [None, np.array([9, 2, 4, 7, 10])], ids=["all rows", "some rows"])
def test_an_epoch_is_every_row_once_in_full_batches_but_for_the_last(batch_size, rows):
    expected = list(range(N)) if rows is None else sorted(rows)
    n = len(expected)
    for epoch in epochs(3, batch_size=batch_size, rows=rows, n_rows=n):
        batches = rows_of(epoch)
        assert sorted(itertools.chain(*batches)) == expected
        sizes = [len(batch) for batch in batches]
        assert sizes == [batch_size] * (n // batch_size) + [n % batch_size] * (n % batch_size > 0)


def test_targets_and_weights_stay_with_their_rows():
    weights = np.arange(N) / 8
    for inputs, targets, weight in epochs(1, weights=weights)[0]:
        np.testing.assert_array_equal(targets, inputs // 10 + 100)
        np.testing.assert_array_equal(weight, inputs / 80)
    assert {len(batch) for batch in epochs(1)[0]} == {2}


def test_rows_ascend_within_a_batch():
    for batch in itertools.chain(*map(rows_of, epochs(5))):
        assert batch == sorted(batch)


def test_the_order_depends_on_the_generator_and_changes_from_epoch_to_epoch():
    orders = [rows_of(epoch) for epoch in epochs(3)]
    assert orders == [rows_of(epoch) for epoch in epochs(3)]
    assert orders[0] != orders[1] != orders[2]
    assert orders != [rows_of(epoch) for epoch in epochs(3, seed=1)]


def test_every_row_is_as_likely_in_the_first_batch_as_any_other():
    first = [rows_of(epoch)[0] for epoch in epochs(2000)]
    share = np.bincount(np.concatenate(first), minlength=N) / 2000
    np.testing.assert_allclose(share, 4 / 11, atol=0.05)  # five standard deviations


def test_augmentation_sees_each_batch_and_the_same_generator_and_leaves_targets_alone():
    def noisy(batch, generator):
        return batch + generator.random(len(batch))

    first, again = (epochs(2, augment=noisy) for _ in range(2))
    for batch, same in zip(itertools.chain(*first), itertools.chain(*again), strict=True):
        np.testing.assert_array_equal(batch[0], same[0])
        np.testing.assert_array_equal(batch[1], np.floor(batch[0]) // 10 + 100)
        assert (batch[0] % 1 > 0).all()
    assert INPUTS.tolist() == list(range(0, 10 * N, 10))


@pytest.mark.parametrize(
    ("n", "batch_size", "expected"), [(1, 4, 1), (4, 4, 1), (5, 4, 2), (8, 4, 2), (9, 4, 3)]
)
def test_the_last_smaller_batch_counts_as_a_step(n, batch_size, expected):
    assert steps_per_epoch(n, batch_size) == expected


# ------------------------------------------------------------------------------------ the weights


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([0, 1, 0, 1], [1, 1, 1, 1]),
        ([0, 0, 0, 1], [2 / 3, 2 / 3, 2 / 3, 2]),
        ([2, 0, 1, 2], [2 / 3, 4 / 3, 4 / 3, 2 / 3]),
    ],
)
def test_balanced_weights_are_inverse_to_how_often_a_class_occurs(targets, expected):
    weights = balanced_weights(np.array(targets))
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_balanced_weights_of_chosen_rows_are_those_of_scikit_learn_for_these_rows():
    generator = np.random.default_rng(0)
    targets = generator.choice(4, 200, p=[0.6, 0.25, 0.1, 0.05])
    rows = generator.permutation(200)[:90]
    weights = balanced_weights(targets, rows)[rows]
    np.testing.assert_allclose(weights, compute_sample_weight("balanced", targets[rows]), rtol=1e-6)
    totals = np.bincount(targets[rows], weights)
    np.testing.assert_allclose(totals, 90 / 4, rtol=1e-5)


def test_a_class_without_a_chosen_row_has_no_part_in_the_balance():
    weights = balanced_weights(np.array([0, 0, 0, 1, 2]), np.arange(4))
    np.testing.assert_allclose(weights[:4], [2 / 3, 2 / 3, 2 / 3, 2], rtol=1e-6)
    assert np.isfinite(weights).all()


# ------------------------------------------------------------------------------------- the stream


def read(batches, steps):
    """Return the first column of each batch, as what ``Model.fit`` reads it from gives it."""
    return [np.asarray(batch[0])[:, 0].tolist() for batch in itertools.islice(batches, steps)]


def counted(start, *, weighted=False):
    while True:
        batch = np.full((2, 3), start, "float32"), np.zeros(2, int)
        yield (*batch, np.ones(2, "float32")) if weighted else batch
        start += 1


def test_a_stream_gives_every_fit_its_own_batches_from_the_first_on():
    stream = BatchStream()
    assert read(stream.of(counted(5)), 3) == [[5, 5], [6, 6], [7, 7]]
    assert read(stream.of(counted(1)), 2) == [[1, 1], [2, 2]]
    assert read(stream.of(counted(8, weighted=True)), 1) == [[8, 8]]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has pipelines")
def test_all_fits_share_one_pipeline():
    stream = BatchStream()
    first = stream.of(counted(0))
    assert first.options().autotune.enabled is False  # tuned ones may sleep when they are closed
    assert stream.of(counted(1)) is first
    assert stream.of(counted(1, weighted=True)) is not first
    assert stream.of(counted(2)) is first


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has pipelines")
def test_a_fit_that_still_reads_takes_no_batch_of_the_next():
    stream = BatchStream()
    earlier = iter(stream.of(counted(0)))
    assert next(earlier)[0][0, 0] == 0
    later = iter(stream.of(counted(100)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="StopIteration"):
        list(itertools.islice(earlier, 9))  # more than are prepared ahead
    assert [int(next(later)[0][0, 0]) for _ in range(3)] == [100, 101, 102]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has pipelines")
def test_the_batches_are_let_go_of_with_their_stream():
    stream, batches = BatchStream(), counted(0)
    assert read(stream.of(batches), 1) == [[0, 0]]
    kept = weakref.ref(batches)
    del stream, batches
    gc.collect()
    assert kept() is None


def test_every_epoch_draws_one_view_of_each_row():
    n, n_views = 6, 3
    inputs = np.arange(n * n_views)  # view v of row i is i + 6 v
    batches = training_batches(
        inputs,
        np.arange(n),
        batch_size=4,
        generator=np.random.default_rng(0),
        rows=np.array([0, 2, 3, 5]),
        n_views=n_views,
    )
    epochs = [next(batches) for _ in range(200)]
    for drawn, targets in epochs:
        np.testing.assert_array_equal(targets, [0, 2, 3, 5])
        np.testing.assert_array_equal(drawn % n, targets)
    counts = np.bincount(np.concatenate([drawn // n for drawn, _ in epochs]))
    # 800 draws of a third each: a standard deviation is 13.
    assert abs(counts - 800 / 3).max() < 4 * 13


@pytest.mark.parametrize("batch_size", [3, 4, 10, 16])
def test_a_generator_in_the_state_after_an_epoch_goes_on_with_the_next(batch_size):
    def augment(batch, generator):
        return batch + generator.integers(100)

    def begun(generator, ends=None):
        return training_batches(
            np.arange(10),
            np.arange(10),
            batch_size=batch_size,
            generator=generator,
            augment=augment,
            epoch_ends=ends,
        )

    steps, ends = steps_per_epoch(10, batch_size), []
    stream = begun(np.random.default_rng(0), ends)
    batches = [next(stream)[0].tolist() for _ in range(3 * steps)]
    assert len(ends) == 3  # with the last batch of the third epoch, not with the first of a fourth
    for epoch in (1, 2):
        generator = np.random.default_rng(99)
        generator.bit_generator.state = ends[epoch - 1]
        rest = begun(generator)
        assert [next(rest)[0].tolist() for _ in range(steps)] == batches[
            epoch * steps : (epoch + 1) * steps
        ]
