"""A finished fold is one file, whole or not there; another run's directory is refused."""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest

from detl.storage import run_directory
from detl.validation.checkpoints import FoldStore
from detl.validation.results import FoldResult

RUN = {"labels": "a" * 64, "transfer": {"epochs": 3}, "versions": {"keras": "3.15.1"}, "seeds": [1]}


@pytest.fixture
def fold():
    rng = np.random.default_rng(0)
    return FoldResult(
        train=np.arange(8),
        test=np.array([9, 8]),
        probabilities=rng.dirichlet([1, 1, 1], 2).astype("float32"),
        history={"loss": [0.1 + 0.2, float("nan"), float("inf")]},
        seed=2**31,
        start="d" * 64,
        seconds=1 / 3,
    )


def test_a_fold_comes_back_to_the_last_bit(tmp_path, fold):
    FoldStore(tmp_path / "deeper" / "run", RUN).save(11, fold)
    found = FoldStore(tmp_path / "deeper" / "run", RUN).load()
    assert list(found) == [11]
    for name in ("train", "test", "probabilities"):
        np.testing.assert_array_equal(getattr(found[11], name), getattr(fold, name))
        assert getattr(found[11], name).dtype == getattr(fold, name).dtype
    np.testing.assert_array_equal(found[11].history["loss"], fold.history["loss"])
    assert (found[11].seed, found[11].start, found[11].seconds) == (2**31, "d" * 64, 1 / 3)


def test_a_directory_holds_one_file_per_fold_and_what_run_they_are_of(tmp_path, fold):
    store = FoldStore(tmp_path, RUN)
    for number in (0, 3):
        store.save(number, fold)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "fold_000.npz",
        "fold_003.npz",
        "run.json",
    ]
    assert json.loads((tmp_path / "run.json").read_text()) == RUN


@pytest.mark.parametrize(
    ("run", "difference"),
    [
        (RUN | {"labels": "b" * 64}, "belongs to another run: other labels. Choose another folder"),
        (RUN | {"transfer": {"epochs": 4}}, "transfer.epochs is 3 there, 4 here"),
        (RUN | {"versions": {"keras": "3.16"}}, "versions.keras is '3.15.1' there, '3.16' here"),
        (RUN | {"groups": "c" * 64}, "groups is None there, 'cccc"),
        (
            RUN | {"labels": "b" * 64, "seeds": [2]},
            r"other labels; seeds is \[1\] there, \[2\] here",
        ),
    ],
)
def test_the_directory_of_another_run_is_refused_with_every_difference(tmp_path, run, difference):
    FoldStore(tmp_path, RUN)
    with pytest.raises(ValueError, match=difference):
        FoldStore(tmp_path, run)
    assert json.loads((tmp_path / "run.json").read_text()) == RUN


def test_folds_of_nobody_knows_what_are_refused(tmp_path, fold):
    FoldStore(tmp_path, RUN).save(0, fold)
    (tmp_path / "run.json").unlink()
    with pytest.raises(ValueError, match=r"has fold_000\.npz but no run\.json"):
        FoldStore(tmp_path, RUN)


@pytest.mark.parametrize("content", [b"", b"half a", b"\xff\xfe"])
def test_a_damaged_description_is_refused_in_words(tmp_path, content):
    FoldStore(tmp_path, RUN)
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.json is damaged \(.*choose another folder"):
        FoldStore(tmp_path, RUN)


def test_of_long_lists_the_message_shows_the_first_few(tmp_path):
    FoldStore(tmp_path, RUN | {"seeds": list(range(50))})
    with pytest.raises(
        ValueError, match=r"seeds is \[0, 1, 2, 3, 4, 5, \.\.\.\] there, \[1\] here"
    ):
        FoldStore(tmp_path, RUN)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")
@pytest.mark.parametrize("name", ["detl-probe", "run.json"])
def test_a_full_disk_is_said_before_anything_is_trained(tmp_path, name):
    os.symlink("/dev/full", tmp_path / f"{name}.part")
    with pytest.raises(OSError, match=r"cannot be written to \(No space left on device\)"):
        FoldStore(tmp_path, RUN)


def test_what_workers_of_a_killed_run_shared_is_removed(tmp_path, fold):
    FoldStore(tmp_path, RUN).save(0, fold)
    (tmp_path / "detl-work-x1").mkdir()
    (tmp_path / "detl-work-x1" / "features.npy").write_bytes(b"large")
    FoldStore(tmp_path, RUN)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fold_000.npz", "run.json"]


def test_what_else_is_in_the_directory_is_left_alone(tmp_path):
    (tmp_path / "work-2024").mkdir()
    (tmp_path / "work-2024" / "thesis.txt").write_text("a year")
    (tmp_path / "writable").write_text("mine")
    for _ in range(2):
        FoldStore(tmp_path, RUN)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.json", "work-2024", "writable"]
    assert (tmp_path / "work-2024" / "thesis.txt").read_text() == "a year"
    assert (tmp_path / "writable").read_text() == "mine"


def test_a_directory_that_cannot_be_written_to_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"checkpoint_dir=.*file.* cannot be written to \("):
        FoldStore(tmp_path / "file", RUN)
    if Path("/proc").is_dir():
        with pytest.raises(OSError, match="cannot be written to"):
            FoldStore("/proc/detl", RUN)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", None])
def test_a_damaged_file_is_warned_of_and_computed_again(tmp_path, fold, damage):
    store = FoldStore(tmp_path, RUN)
    store.save(0, fold)
    store.save(1, fold)
    path = tmp_path / "fold_001.npz"
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    with pytest.warns(UserWarning, match=r"fold_001\.npz is damaged .* computed again"):
        assert list(store.load()) == [0]


def test_any_flipped_bit_is_noticed_or_changes_nothing(tmp_path, fold):
    store = FoldStore(tmp_path, RUN)
    store.save(0, fold)
    path = tmp_path / "fold_000.npz"
    content = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for position in range(len(content)):
            broken = bytearray(content)
            broken[position] ^= 1 << position % 8
            path.write_bytes(broken)
            for found in store.load().values():
                np.testing.assert_array_equal(found.probabilities, fold.probabilities)
                np.testing.assert_array_equal(found.test, fold.test)
                assert found.seed == fold.seed


def test_a_file_of_another_name_is_no_fold(tmp_path, fold):
    store = FoldStore(tmp_path, RUN)
    store.save(0, fold)
    (tmp_path / "fold_000.npz").rename(tmp_path / "fold_best.npz")
    with pytest.warns(UserWarning, match=r"fold_best\.npz is damaged"):
        assert store.load() == {}


def test_a_file_that_carries_code_is_not_run(tmp_path, fold):
    store = FoldStore(tmp_path, RUN)
    np.savez(
        tmp_path / "fold_000.npz",
        train=np.array([Bomb()], dtype=object), test=fold.test,
        probabilities=fold.probabilities, rest=np.array("{}"),
    )  # fmt: skip
    with pytest.warns(UserWarning, match="is damaged"):
        assert store.load() == {}


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


def test_what_a_killed_save_leaves_is_no_fold(tmp_path, fold):
    store = FoldStore(tmp_path, RUN)
    (tmp_path / "fold_000.part").write_bytes(b"half a fo")
    assert store.load() == {}
    store.save(0, fold)
    assert list(store.load()) == [0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full here")
def test_a_full_disk_is_warned_of_and_the_folds_before_it_stay(tmp_path, fold):
    store = FoldStore(tmp_path, RUN)
    store.save(0, fold)
    os.symlink("/dev/full", tmp_path / "fold_001.part")
    with pytest.warns(
        RuntimeWarning, match=r"fold_001\.npz could not be written .*No space left.*memory"
    ):
        store.save(1, fold)
    assert list(store.load()) == [0]
    store.save(1, fold)  # there is room again
    assert list(store.load()) == [0, 1]


def test_the_file_is_on_the_disk_before_it_has_its_name(tmp_path, fold, monkeypatch):
    order = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(run_directory.os, "fsync", lambda n: (order.append("sync"), fsync(n)))
    monkeypatch.setattr(
        Path, "replace", lambda path, to: (order.append(to.name), replace(path, to))[1]
    )
    FoldStore(tmp_path, RUN).save(0, fold)
    assert order[-2:] == ["sync", "fold_000.npz"]
