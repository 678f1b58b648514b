"""Files that detl wrote before they had checksums: read, or refused by name with what to do."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from detl import CrossValidationResult, images, load_source
from detl.features.store import FeatureStore
from detl.pretraining.epochs import TrainingStore
from detl.validation.checkpoints import FoldStore

BEFORE = Path(__file__).parents[1] / "data" / "before"


@pytest.fixture(scope="module")
def expected():
    with np.load(BEFORE / "expected.npz") as file:
        return dict(file)


@pytest.fixture
def before(tmp_path, monkeypatch):
    """Return a copy of the files, and make it the working directory, as when they were written."""
    shutil.copytree(BEFORE, tmp_path / "before")
    monkeypatch.chdir(tmp_path / "before")
    for path in Path("files").iterdir():
        os.utime(path, ns=(10**18, 10**18))
    return tmp_path / "before"


def run_of(folder):
    return json.loads((folder / "run.json").read_text())


def test_a_source_is_read(expected):
    source = load_source(BEFORE / "source.keras")
    assert source.classes.tolist() == ["bright", "dim"]
    assert len(source.history["loss"]) == 3
    found = source.model.predict(expected["pixels"], verbose=0)
    np.testing.assert_allclose(found, expected["probabilities"], rtol=1e-5)


def test_a_result_is_read(expected):
    result = CrossValidationResult.load(BEFORE / "result.json")
    np.testing.assert_array_equal(result.probabilities, expected["folds"])
    assert result.labels.tolist() == expected["labels"].tolist()


def test_finished_folds_are_read_if_they_are_of_the_plan(before, expected):
    result = CrossValidationResult.load(BEFORE / "result.json")
    plan = dict(enumerate(zip(*zip(*result.indices), result.fold_seeds)))
    with FoldStore(before / "folds", run_of(before / "folds")) as store:
        folds = store.load(plan, 2)
        assert list(folds) == [0, 1]
        for number, fold in folds.items():
            np.testing.assert_array_equal(fold.probabilities, expected["folds"][plan[number][1]])
        shutil.copy(before / "folds" / "fold_000.npz", before / "folds" / "fold_001.npz")
        with pytest.warns(UserWarning, match=r"fold_001\.npz is damaged \(it is of other rows"):
            assert list(store.load(plan, 2)) == [0]


def test_a_training_that_broke_off_is_read(before):
    source = load_source(before / "source.keras")
    with TrainingStore(before / "epochs", run_of(before / "epochs")) as store:
        training = store.load(source.model)
    assert training.n_epochs == 2
    assert not training.finished
    assert training.history["loss"] == source.history["loss"][:2]


@pytest.mark.parametrize("damaged", ["folds", "epochs"])
def test_what_was_written_before_is_checked_as_it_was(before, damaged):
    path = max((before / damaged).glob("*.npz"))
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    with (
        TrainingStore(before / damaged, run_of(before / damaged)) as store,
        pytest.warns(UserWarning, match=rf"{path.name} is damaged .*; it is made again"),
    ):
        assert store.read(path.name, lambda arrays, rest: arrays, again="it is made again") is None


def test_cached_features_are_computed_again_and_removed(before):
    (path,) = (before / "features").glob("*.features.npy")
    trunk = path.name[:32] + "0" * 32
    store = FeatureStore()
    with pytest.warns(
        UserWarning, match=r"features\.npy is damaged \(it has no checksum, as an ear"
    ):
        store.read(before / "features", trunk, [b"0" * 16])
    assert store.missing(trunk, [b"0" * 16]) == [0]
    assert list((before / "features").iterdir()) == []


def test_a_memory_map_is_read_again_with_a_warning(before, expected, caplog):
    paths = sorted(Path("files").iterdir())
    with pytest.raises(ValueError, match=r"finished\.npy was read from 12 files, .* from 11; name"):
        images.load(paths[1:], size=(6, 6), memory_map=before / "maps" / "finished.npy")
    for name in ("finished", "partial"):
        loaded = images.load(paths, size=(6, 6), memory_map=before / "maps" / f"{name}.npy")
        np.testing.assert_array_equal(loaded.images, expected["pixels"])
        assert "read again: an earlier version read them" in caplog.messages.pop()
