"""What is kept from epoch to epoch: the best weights, and all that training goes on from."""

import contextlib
import logging
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from detl.networks.digests import weights_digest

LONG = {"epochs": 5, "class_weight": "balanced"}


class Break(keras.callbacks.Callback):
    """Break training off, in the middle of an epoch or at its end."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.epoch, self.batch, self.seen = epoch, batch, []

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(epoch)

    def on_train_batch_end(self, batch, logs=None):
        if (self.seen[-1], batch) == (self.epoch, self.batch):
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if self.epoch == epoch:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(train):
    """Return a training of five epochs that nothing broke off."""
    return train(**LONG)


@pytest.fixture(scope="module")
def broken_off(train, tmp_path_factory):
    """Return the folder of the same training, broken off in its third epoch."""
    folder = tmp_path_factory.mktemp("broken_off")
    with pytest.raises(KeyboardInterrupt):
        train(**LONG, checkpoint_dir=folder, callbacks=[Break(2)])
    return folder


@pytest.fixture
def folder(broken_off, tmp_path):
    """Return a copy of it."""
    return Path(shutil.copytree(broken_off, tmp_path / "epochs"))


@pytest.mark.parametrize(
    ("broken", "changes"),
    [
        ((0, 1), {}),
        ((2, 1), {"ema_epochs": 0.6}),
        ((4, None), {}),
        # In one step an epoch, so that what is prepared ahead is of the epochs to come.
        ((2, None), {"batch_size": 64, "ema_epochs": 2}),
    ],
)
def test_a_training_that_broke_off_goes_on_to_the_same_weights(
    train, validation, tmp_path, broken, changes
):
    options = {**LONG, **changes, "validation_data": validation}
    whole = train(**options)
    with pytest.raises(KeyboardInterrupt):
        train(**options, callbacks=[Break(*broken)], checkpoint_dir=tmp_path / "epochs")
    watch = Break(None)
    found = train(**options, callbacks=[watch], checkpoint_dir=tmp_path / "epochs")
    assert watch.seen == list(range(broken[0], 5))
    assert weights_digest(found.model) == weights_digest(whole.model)
    assert found.history == whole.history
    assert found.best_epoch == whole.best_epoch


def test_what_is_kept_may_be_of_an_epoch_before_the_break(train, validation, judged, tmp_path):
    options = {"epochs": 6, "validation_data": validation, "checkpoint_dir": tmp_path}
    assert judged.best_epoch < 5
    with pytest.raises(KeyboardInterrupt):
        train(**options, callbacks=[Break(5)])
    found = train(**options)
    assert found.best_epoch == judged.best_epoch
    assert weights_digest(found.model) == weights_digest(judged.model)


def test_a_finished_training_is_loaded_and_takes_less_room_than_one_that_goes_on(train, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(**LONG, checkpoint_dir=tmp_path, callbacks=[Break(4)])
    size = (tmp_path / "training.npz").stat().st_size
    watch = Break(None)
    first = train(**LONG, checkpoint_dir=tmp_path)
    again = train(**LONG, checkpoint_dir=tmp_path, callbacks=[watch])
    assert watch.seen == []
    assert weights_digest(again.model) == weights_digest(first.model)
    assert again.history == first.history
    assert len(again.history["loss"]) == 5
    assert (tmp_path / "training.npz").stat().st_size < size / 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "training.npz"]


def test_a_training_that_a_callback_ended_is_finished(train, tmp_path):
    class End(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    first = train(**LONG, checkpoint_dir=tmp_path, callbacks=[End()])
    again = train(**LONG, checkpoint_dir=tmp_path)
    assert again.history == first.history
    assert len(again.history["loss"]) == 2


@pytest.mark.parametrize("stop", [True, np.True_])
def test_a_callback_may_end_it_within_an_epoch(train, tmp_path, stop):
    class End(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.stop_training = stop

    first = train(**LONG, batch_size=2, checkpoint_dir=tmp_path, callbacks=[End()])
    assert len(first.history["loss"]) == 1
    assert train(**LONG, batch_size=2, checkpoint_dir=tmp_path).history == first.history


def test_a_log_that_a_callback_adds_is_in_the_history_before_and_after_the_break(train, tmp_path):
    class Add(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["place"] = epoch / 2

    with pytest.raises(KeyboardInterrupt):
        train(**LONG, checkpoint_dir=tmp_path, callbacks=[Add(), Break(3)])
    again = train(**LONG, checkpoint_dir=tmp_path)
    assert again.history["place"] == [0, 0.5, 1]
    assert len(again.history["loss"]) == 5
    assert train(**LONG, checkpoint_dir=tmp_path).history == again.history


def test_whose_folders_lie_beside_it_does_not_matter(train, tmp_path):
    (tmp_path / "work-2024").mkdir()
    train(checkpoint_dir=tmp_path)
    assert (tmp_path / "work-2024").is_dir()


def test_it_is_said_that_less_is_trained_than_one_might_think(train, folder, caplog):
    with caplog.at_level(logging.INFO, "detl"):
        train(**LONG, checkpoint_dir=folder)
        assert re.search("goes on: .* has 2 of 5", caplog.text)
        train(**LONG, checkpoint_dir=folder)
        assert re.search("loads what is finished: .* 5 of 5", caplog.text)


@pytest.mark.parametrize("cut", [0, 100])
def test_a_damaged_file_is_warned_of_and_training_begins_again(train, whole, folder, cut):
    path = folder / "training.npz"
    path.write_bytes(path.read_bytes()[:-cut] if cut else b"")
    watch = Break(None)
    with pytest.warns(UserWarning, match=r"training\.npz is damaged .* begins again"):
        found = train(**LONG, checkpoint_dir=folder, callbacks=[watch])
    assert watch.seen == [0, 1, 2, 3, 4]
    assert weights_digest(found.model) == weights_digest(whole.model)


def test_training_goes_on_where_the_disk_is_full(train, whole, tmp_path, full_disk):
    class Fill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                stack.enter_context(full_disk())
            if epoch == 2:
                stack.close()

    with (
        contextlib.ExitStack() as stack,
        pytest.warns(RuntimeWarning, match=r"No space left.*the epochs since the last") as warned,
    ):
        found = train(**LONG, checkpoint_dir=tmp_path, callbacks=[Fill()])
    full = [said for said in warned if said.category is RuntimeWarning]
    assert len(full) == 1  # there is room again in the next epoch
    assert weights_digest(found.model) == weights_digest(whole.model)
