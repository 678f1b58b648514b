"""A finished fold is one file, whole or not there, and of the run that it is read for."""

import io
import shutil
import time
import warnings

import numpy as np
import pytest

from detl.validation.checkpoints import FoldStore
from detl.validation.results import FoldResult

RUN = {"labels": "a" * 64, "seeds": [1]}
PLAN = {number: (np.arange(8), np.array([9, 8]), 2**31 + number) for number in range(4)}


def fold_of(number, **changes):
    train, test, seed = PLAN[number]
    found = {
        "train": train,
        "test": test,
        "probabilities": np.random.default_rng(0).dirichlet([1, 1, 1], 2).astype("float32"),
        "history": {"loss": [0.1 + 0.2, float("nan"), float("inf")]},
        "seed": seed,
        "start": "d" * 64,
        "seconds": 1 / 3,
    }
    return FoldResult(**found | changes)


@pytest.fixture
def store(tmp_path):
    with FoldStore(tmp_path, RUN) as opened:
        yield opened


def load(store):
    return store.load(PLAN, 3)


def test_a_fold_comes_back_to_the_last_bit_in_another_process(tmp_path):
    with FoldStore(tmp_path / "deeper" / "run", RUN) as store:
        store.save(3, fold_of(3))
    with FoldStore(tmp_path / "deeper" / "run", RUN) as store:
        found = load(store)
    assert list(found) == [3]
    fold = fold_of(3)
    for name in ("train", "test", "probabilities"):
        np.testing.assert_array_equal(getattr(found[3], name), getattr(fold, name))
        assert getattr(found[3], name).dtype == getattr(fold, name).dtype
    np.testing.assert_array_equal(found[3].history["loss"], fold.history["loss"])
    assert (found[3].seed, found[3].start, found[3].seconds) == (2**31 + 3, "d" * 64, 1 / 3)


def test_a_directory_holds_one_file_per_fold_that_numpy_reads(tmp_path):
    with FoldStore(tmp_path, RUN) as store:
        for number in (0, 3):
            store.save(number, fold_of(number))
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["fold_000.npz", "fold_003.npz", "run.json"]
    with np.load(tmp_path / "fold_003.npz") as file:
        np.testing.assert_array_equal(file["test"], [9, 8])


def test_what_workers_of_a_killed_run_shared_is_removed(tmp_path):
    with FoldStore(tmp_path, RUN) as store:
        store.save(0, fold_of(0))
    (tmp_path / "detl-work-x1").mkdir()
    (tmp_path / "detl-work-x1" / "features.npy").write_bytes(b"large")
    with FoldStore(tmp_path, RUN):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fold_000.npz", "run.json"]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", None])
def test_a_damaged_file_is_warned_of_and_computed_again(tmp_path, store, damage):
    store.save(0, fold_of(0))
    store.save(1, fold_of(1))
    path = tmp_path / "fold_001.npz"
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    with pytest.warns(UserWarning, match=r"fold_001\.npz is damaged .* its fold is computed again"):
        assert list(load(store)) == [0]


@pytest.mark.filterwarnings("ignore:.*is damaged:UserWarning")
def test_every_flipped_bit_of_200_is_found(tmp_path, store):
    store.save(0, fold_of(0))
    path = tmp_path / "fold_000.npz"
    content = path.read_bytes()
    for position in np.linspace(0, len(content) - 1, 200).astype(int):
        broken = bytearray(content)
        broken[position] ^= 1 << position % 8
        path.write_bytes(broken)
        assert load(store) == {}, position


def test_a_fold_in_the_place_of_another_is_found(tmp_path, store):
    store.save(0, fold_of(0))
    shutil.copy(tmp_path / "fold_000.npz", tmp_path / "fold_001.npz")
    with pytest.warns(UserWarning, match=r"fold_001\.npz is damaged \(it is fold_000\.npz of this"):
        assert list(load(store)) == [0]


def test_a_fold_of_another_run_is_found(tmp_path, store):
    with FoldStore(tmp_path / "other", RUN | {"seeds": [2]}) as other:
        other.save(0, fold_of(0))
    shutil.copy(tmp_path / "other" / "fold_000.npz", tmp_path / "fold_000.npz")
    with pytest.warns(UserWarning, match=r"fold_000\.npz of this or another run"):
        assert load(store) == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"test": np.array([9, 7])}, "it is of other rows"),
        ({"train": np.arange(7)}, "it is of other rows"),
        ({"test": np.array([9, 10**6])}, "it is of other rows"),
        ({"seed": 5}, r"it is of seed 5, not 2147483648"),
        ({"probabilities": np.ones((2, 4))}, r"shape \(2, 4\) for 2 images and 3 classes"),
        (
            {"probabilities": np.full((2, 3), np.nan)},
            "probabilities that are negative or no numbers",
        ),
        ({"decisions": np.array([0, 3])}, "decisions that are not one class for each"),
    ],
)
def test_a_fold_is_compared_with_the_plan(store, changes, reason):
    store.save(0, fold_of(0, **changes))
    with pytest.warns(UserWarning, match=reason):
        assert load(store) == {}


def test_a_file_that_carries_code_is_not_run(tmp_path, store):
    np.savez(
        tmp_path / "fold_000.npz",
        train=np.array([Bomb()], dtype=object), test=np.array([9, 8]), rest=np.array("{}"),
    )  # fmt: skip
    with pytest.warns(UserWarning, match="is damaged"):
        assert load(store) == {}


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


def test_what_a_killed_save_leaves_is_no_fold_and_removed_by_the_next_run(tmp_path):
    with FoldStore(tmp_path, RUN):
        pass
    (tmp_path / ".detl-0123.npz").write_bytes(b"half a fo")
    with FoldStore(tmp_path, RUN) as store, warnings.catch_warnings(action="error"):
        assert load(store) == {}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_full_disk_is_warned_of_and_the_folds_before_it_stay(tmp_path, store, full_disk):
    store.save(0, fold_of(0))
    with (
        full_disk(),
        pytest.warns(
            RuntimeWarning, match=r"fold_001\.npz could not be written .*No space left.*memory"
        ),
    ):
        store.save(1, fold_of(1))
    assert list(load(store)) == [0]
    store.save(1, fold_of(1))  # there is room again
    assert list(load(store)) == [0, 1]
    assert sorted(p.name for p in tmp_path.glob("*.npz")) == ["fold_000.npz", "fold_001.npz"]


# Killed, never asked to stop: nothing is written but what is on disk at that moment.
KEPT = """
    print("ready", flush=True)
    np.save(sys.stdout.buffer, run(checkpoint_dir={folder!r}))
"""


@pytest.mark.slow
def test_a_run_killed_at_a_random_moment_ends_like_one_that_was_not(here, start, tmp_path):
    rng = np.random.default_rng()  # another moment in every run of this test
    body = KEPT.format(folder=str(tmp_path))
    run = start(body)
    assert run.stdout.readline() == b"ready\n"
    # Killed soon after that fold is finished, or while a later one is trained.
    last = tmp_path / f"fold_{rng.integers(1, 4):03d}.npz"
    while run.poll() is None and not last.exists():
        time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.1))
    run.kill()
    run.communicate()
    kept = sorted(tmp_path.glob("fold_*.npz"))
    assert len(kept) >= 2
    kept[0].unlink()  # there is to be work left
    run = start(body)
    run.stdout.readline()
    resumed = np.load(io.BytesIO(run.communicate()[0]))
    np.testing.assert_array_equal(resumed, here)
    assert len(list(tmp_path.glob("fold_*.npz"))) == 5
