"""A result is written as JSON and comes back to the last bit, or is refused."""

import dataclasses
import datetime
import json

import numpy as np
import pytest

from detl.validation.results import CrossValidationResult

LABELS = np.array(["covid", "normal", "other"])[np.arange(60) % 3]
GROUPS = np.arange(60) // 2


def assert_equal(found, expected):
    for name in ("classes", "labels", "groups"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for one, other in zip(found.folds, expected.folds, strict=True):
        for name in ("train", "test"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
            assert getattr(one, name).dtype.kind == "i"
        assert one.probabilities.dtype == np.float32
        assert one.probabilities.tobytes() == other.probabilities.tobytes()
        np.testing.assert_equal(one.history, other.history)
        assert (one.seed, one.start, one.seconds) == (other.seed, other.start, other.seconds)
    assert found.audit.to_dict() == expected.audit.to_dict()
    for name in ("settings", "versions", "seconds"):
        assert getattr(found, name) == getattr(expected, name)
    np.testing.assert_equal(found.scores, expected.scores)
    np.testing.assert_equal(found.class_scores, expected.class_scores)
    assert str(found) == str(expected)


@pytest.mark.parametrize(
    "labels", [LABELS, np.arange(60) % 3, np.arange(60) % 2 == 0], ids=["str", "int", "bool"]
)
@pytest.mark.parametrize(
    "groups",
    [None, GROUPS, GROUPS.astype(str), GROUPS.astype(float), GROUPS.astype(str).astype(object)],
    ids=["none", "int", "str", "float", "object"],
)
def test_a_result_comes_back_to_the_last_bit(make_result, labels, groups, tmp_path):
    result = make_result(labels, groups=groups)
    path = result.save(tmp_path / "deeper" / "result.json")
    assert path == tmp_path / "deeper" / "result.json"
    assert [one.name for one in path.parent.iterdir()] == ["result.json"]
    assert_equal(CrossValidationResult.load(path), result)
    assert_equal(CrossValidationResult.load(str(path)), result)


def test_a_history_that_diverged_comes_back(make_result, tmp_path):
    histories = [{"loss": [1 / 3, np.nan, np.inf, -np.inf], "accuracy": [np.float32(0.1)] * 4}]
    result = make_result(LABELS, histories=histories)
    found = CrossValidationResult.load(result.save(tmp_path / "result.json"))
    np.testing.assert_equal(found.histories, result.histories)


def test_repeats_and_untested_images_come_back(partly_repeated, tmp_path):
    found = CrossValidationResult.load(partly_repeated.save(tmp_path / "result.json"))
    assert_equal(found, partly_repeated)
    assert found.predictions[9] is None


@pytest.mark.parametrize(
    "days",
    [
        np.datetime64("2020-03-01") + GROUPS,
        np.array([datetime.date(2020, 3, 1) + datetime.timedelta(int(g)) for g in GROUPS]),
    ],
    ids=["numpy", "objects"],
)
def test_groups_that_are_dates_come_back_as_strings(make_result, days, tmp_path):
    result = make_result(LABELS, groups=days)
    found = CrossValidationResult.load(result.save(tmp_path / "result.json"))
    assert found.groups[[0, -1]].tolist() == ["2020-03-01", "2020-03-30"]
    assert found.interval == result.interval


def test_groups_of_numpy_objects_come_back_as_numbers(make_result, tmp_path):
    groups = np.array([np.int64(g) for g in GROUPS], dtype=object)
    found = make_result(LABELS, groups=groups).save(tmp_path / "result.json")
    np.testing.assert_array_equal(CrossValidationResult.load(found).groups, GROUPS)


def test_scores_are_in_the_file_for_other_readers(make_result, tmp_path):
    # One fold lacks the third class.
    indices = [(np.arange(30, 60), np.arange(30)), (np.arange(30), np.arange(30, 59, 3))]
    result = make_result(LABELS, indices=indices)
    record = json.loads(result.save(tmp_path / "result.json").read_text(encoding="utf-8"))
    assert record["scores"]["accuracy"]["folds"] == result.accuracies.tolist()
    assert record["scores"]["macro_f1"]["folds"][1] is None
    assert record["scores"]["macro_f1"]["std"] is None
    assert record["scores"]["accuracy"]["method"] == result.interval.method
    assert [scores["class"] for scores in record["class_scores"]] == ["covid", "normal", "other"]
    assert record["class_scores"][1]["sensitivity"]["folds"][1] is None


def test_a_save_that_fails_leaves_the_old_file(result, tmp_path):
    path = result.save(tmp_path / "result.json")
    before = path.read_bytes()
    broken = dataclasses.replace(result, settings={**result.settings, "epochs": {1, 2}})
    with pytest.raises(TypeError, match="set is not JSON serializable"):
        broken.save(path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_every_flipped_bit_of_200_is_found(result, tmp_path):
    path = result.save(tmp_path / "result.json")
    content = path.read_bytes()
    for position in np.linspace(0, len(content) - 1, 200).astype(int):
        broken = bytearray(content)
        broken[position] ^= 1 << position % 8
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"result\.json is damaged \("):
            pytest.fail(f"bit of byte {position}: {CrossValidationResult.load(path)}")


def test_names_in_other_alphabets_come_back(make_result, tmp_path):
    labels = np.where(np.arange(60) % 2, "Lungenentzündung", "正常")
    path = make_result(labels).save(tmp_path / "result.json")
    assert CrossValidationResult.load(path).classes.tolist() == ["Lungenentzündung", "正常"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"accuracy 0.9",
            r"result.json is damaged \(.*\); expected what CrossValidationResult.save writes",
        ),
        (b"\x89PNG\xff", "result.json is damaged"),
        (b"[1, 2]", "result.json has a list; expected what CrossValidationResult.save writes"),
        (b"{}", "The record has no audit, classes, folds, groups, labels, seconds, settings, ver"),
    ],
)
def test_another_file_is_refused(content, message, tmp_path):
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        CrossValidationResult.load(tmp_path / "result.json")


@pytest.mark.parametrize("name", ["groups", "versions", "audit"])
def test_an_incomplete_record_is_refused(result, name):
    record = result.to_dict()
    del record[name]
    with pytest.raises(ValueError, match=f"The record has no {name}; expected what .*to_dict"):
        CrossValidationResult.from_dict(record)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("probabilities", [[5, -4, 0]] * 12, "probabilities that are negative or no numbers"),
        ("probabilities", [[float("nan"), 0, 1]] * 12, "probabilities that are negative or no n"),
        ("probabilities", [[0.5, 0.6, 0.1]] * 12, "probabilities that do not sum to one"),
        ("probabilities", "none", "could not convert string to float"),
        ("history", [1, 2], "AttributeError: 'list' object has no attribute 'items'"),
        ("probabilities", [[0.5, 0.5]] * 12, r"shape \(12, 2\) for 12 images and 3 classes"),
        ("test", [0, 0, *range(2, 12)], "a test image twice"),
        ("test", [-1, *range(1, 12)], "rows in test that are not among 0 to 59"),
        ("train", [60], "rows in train that are not among 0 to 59"),
        ("decisions", [3] * 12, "decisions that are not one class for each image"),
        ("decisions", [0], "decisions that are not one class"),
    ],
)
def test_a_fold_that_no_cross_validation_finds_is_refused(result, name, value, message):
    record = result.to_dict()
    record["folds"][1][name] = value
    with pytest.raises(ValueError, match=f"The record cannot be read .*{message}.*what CrossVal"):
        CrossValidationResult.from_dict(record)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("labels", ["a", "b"], "classes that are not those of the labels, sorted"),
        ("labels", [["a", "b"]] * 60, "labels has shape"),
        ("classes", ["other", "normal", "covid"], "classes that are not those of the labels"),
        ("groups", [1, 2], "2 groups for 60 images"),
        ("folds", 5, "'int' object is not iterable"),
        ("folds", [[0]], "list indices must be integers"),
        ("settings", {}, "KeyError: 'interval_seed'"),
        ("versions", 5, "'int' object is not iterable"),
        ("audit", None, "TypeError"),
    ],
)
def test_a_record_of_something_else_is_refused(result, name, value, message):
    record = result.to_dict() | {name: value}
    with pytest.raises(ValueError, match=f"The record cannot be read .*{message}.*what CrossVal"):
        CrossValidationResult.from_dict(record)


def test_what_is_no_record_is_refused():
    with pytest.raises(TypeError, match="record is a list; expected what CrossValidationResult"):
        CrossValidationResult.from_dict([1, 2])


@pytest.mark.parametrize("path", [5, None, ["a"]])
def test_what_is_no_path_is_refused(result, path):
    message = f"path is {type(path).__name__} .*; expected the path of"
    with pytest.raises(TypeError, match=message):
        result.save(path)
    with pytest.raises(TypeError, match=message):
        CrossValidationResult.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.json"):
        CrossValidationResult.load(tmp_path / "missing.json")
