import numpy as np
import pytest

from benchmarks import faults
from benchmarks.cases import is_refused, source, validated
from detl import CrossValidationResult, load_source


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_a_few_cases_hold(fault, tmp_path):
    held = list(fault(tmp_path, 2))
    assert len(held) >= 2
    assert all(held)


def test_a_whole_file_is_not_counted_as_refused(tmp_path):
    path = validated().save(tmp_path / "result.json")
    assert not is_refused(lambda: CrossValidationResult.load(path))
    for _ in faults.flipped(path, 2):
        broken = path.read_bytes()
    assert broken != path.read_bytes()


def test_what_is_not_computed_again_is_not_counted_as_replaced():
    assert not faults.is_replaced(lambda: np.zeros(2), np.zeros(2), "fold_001.npz")


def test_a_hostile_source_would_open_without_its_function(tmp_path):
    honest, path = source().save(tmp_path / "honest.keras"), tmp_path / "copy.keras"
    softmax = {"class_name": "function", "module": "keras.activations", "config": "softmax"}
    faults.write_hostile_source(honest, path, softmax | {"registered_name": "softmax"})
    assert load_source(path).model.get_config() == load_source(honest).model.get_config()


def test_a_pickle_would_act_if_it_were_loaded(tmp_path):
    acted = tmp_path / "acted"
    np.savez(tmp_path / "fold.npz", train=np.array([faults.Acts(acted)], dtype=object))
    with np.load(tmp_path / "fold.npz", allow_pickle=True) as archive:
        archive["train"]
    assert acted.exists()
