import numpy as np
import pytest

from detl.pretraining.held_out import HeldOut, checked_validation


def test_batches_are_the_rows_in_their_order():
    images, targets = np.arange(14).reshape(7, 2), np.arange(7)
    batches = HeldOut(images, targets, rows=np.array([5, 0, 3]), batch_size=2)
    assert len(batches) == 2
    np.testing.assert_array_equal(batches[0][1], [5, 0])
    np.testing.assert_array_equal(batches[1][0], [[6, 7]])


def test_by_default_all_rows_are_held_out():
    batches = HeldOut(np.zeros((5, 2)), np.arange(5), batch_size=3)
    np.testing.assert_array_equal(np.concatenate([batches[0][1], batches[1][1]]), np.arange(5))


def test_labels_become_indices_of_the_classes_that_are_trained_on():
    images = np.zeros((3, 4, 4, 1), "uint8")
    classes = np.array(["bright", "dim"])
    found, targets = checked_validation(
        (images, ["dim", "bright", "dim"]), classes, shape=(4, 4, 1)
    )
    assert found is images
    np.testing.assert_array_equal(targets, [1, 0, 1])
    with pytest.raises(
        ValueError, match=r"labels lack: \['new'\]; expected only \['bright', 'dim'"
    ):
        checked_validation((images, ["dim", "new", "dim"]), classes, shape=(4, 4, 1))
