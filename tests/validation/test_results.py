"""A result is its folds' predictions: what is derived from them, written down, read and printed."""

import dataclasses
import datetime
import json
import re
import sys

import numpy as np
import pandas
import pytest
from sklearn.model_selection import RepeatedStratifiedKFold

from detl import folds, metrics
from detl.validation.results import CrossValidationResult

LABELS = np.array(["covid", "normal", "other"])[np.arange(60) % 3]
GROUPS = np.arange(60) // 2


@pytest.fixture
def result(make_result):
    return make_result(LABELS, groups=GROUPS)


@pytest.fixture
def partly_repeated(make_result):
    """Three folds of ten images: rows 0 to 3 are tested twice, rows 8 and 9 never."""
    tests = [np.array([3, 0, 1, 2]), np.array([4, 5, 6, 7]), np.array([0, 1, 2, 3])]
    indices = [(np.setdiff1d(np.arange(10), test), test) for test in tests]
    probabilities = np.random.default_rng(0).dirichlet([1, 1], (3, 4)).astype("float32")
    labels = np.arange(10) % 2
    return make_result(labels, indices=indices, probabilities=list(probabilities))


# ------------------------------------------------------------------------------------ predictions


def test_probabilities_are_those_of_the_fold_that_tested_the_image(result):
    assert result.probabilities.dtype == np.float32
    for number, (train, test) in enumerate(result.indices):
        np.testing.assert_array_equal(
            result.probabilities[test], result.folds[number].probabilities
        )
        assert (result.fold_of[test] == number).all()
        np.testing.assert_array_equal(np.sort(np.r_[train, test]), np.arange(60))
    expected = result.classes[result.probabilities.argmax(axis=1)]
    np.testing.assert_array_equal(result.predictions, expected)


def test_repeats_are_averaged_and_the_first_fold_is_named(partly_repeated):
    first, second, third = (fold.probabilities for fold in partly_repeated.folds)
    found = partly_repeated.probabilities
    np.testing.assert_allclose(found[3], (first[0] + third[3]) / 2, rtol=1e-6)
    np.testing.assert_allclose(found[:3], (first[1:] + third[:3]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(found[4:8], second)
    assert partly_repeated.fold_of.tolist() == [0] * 4 + [1] * 4 + [-1] * 2


def test_of_repeats_that_decide_most_count_and_then_the_probability(partly_repeated):
    first, second, third = partly_repeated.folds
    decided = [
        dataclasses.replace(first, decisions=np.array([0, 1, 1, 0])),
        second,
        dataclasses.replace(third, decisions=np.array([1, 0, 1, 0])),
    ]
    found = dataclasses.replace(partly_repeated, folds=tuple(decided))
    by_probability = partly_repeated.predictions
    # Rows 0 and 3 have two votes for one class; of rows 1 and 2 the votes are even.
    assert found.predictions[[0, 3]].tolist() == [1, 0]
    assert found.predictions[1:3].tolist() == by_probability[1:3].tolist()
    assert found.predictions[4:].tolist() == by_probability[4:].tolist()
    assert found.predictions_frame()["prediction"].tolist()[:4] == [0, 1, 1, 0]


def test_an_image_that_no_fold_tested_has_no_prediction(partly_repeated):
    assert np.isnan(partly_repeated.probabilities[8:]).all()
    assert np.isfinite(partly_repeated.probabilities[:8]).all()
    *tested, one, another = partly_repeated.predictions.tolist()
    assert one is another is None
    assert tested == partly_repeated.probabilities[:8].argmax(axis=1).tolist()


def test_scores_are_those_of_the_fold_predictions(result):
    overall, per_class = metrics.scores(
        result.fold_predictions, unit="groups", random_state=result.settings["interval_seed"]
    )
    assert result.scores == overall
    assert list(result.class_scores) == ["covid", "normal", "other"]
    assert list(result.class_scores.values()) == per_class


def test_accuracies_matrices_and_shortcuts_agree(result):
    for number, (_, test) in enumerate(result.indices):
        hits = result.predictions[test] == LABELS[test]
        assert result.accuracies[number] == hits.mean()
        matrix = result.fold_confusion_matrices[number]
        assert np.trace(matrix) == hits.sum()
        assert matrix.sum(axis=1).tolist() == [(LABELS[test] == c).sum() for c in result.classes]
    assert (
        result.confusion_matrix[0, 2]
        == ((LABELS == "covid") & (result.predictions == "other")).sum()
    )
    assert result.accuracy == result.accuracies.mean()
    assert result.accuracy_std == pytest.approx(result.accuracies.std(ddof=1))
    assert result.interval is result.scores["accuracy"].interval


def test_intervals_redraw_groups_where_there_are_any(make_result, result):
    assert result.unit == "groups"
    assert "over 30 groups" in result.interval.method
    alone = make_result(LABELS)
    assert alone.unit == "images"
    assert "over 60 images" in alone.interval.method


def test_the_table_says_that_few_groups_make_intervals_too_narrow(make_result, result):
    few = make_result(LABELS, groups=GROUPS % 19)
    assert "2000 draws, too narrow under 20 groups)" in str(few)
    assert "Over 19 groups the intervals are too narrow: they hold the true value less" in str(few)
    assert "too narrow" not in str(result)


def test_histories_and_seeds_are_those_of_the_folds(result):
    assert result.histories == [fold.history for fold in result.folds]
    assert result.fold_seeds == [0, 1, 2, 3, 4]


# ------------------------------------------------------------------------------- to JSON and back


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
        ("probabilities", [[5, -4, 0]] * 12, "probabilities outside \\[0, 1\\]"),
        ("probabilities", [[float("nan"), 0, 0]] * 12, "probabilities outside"),
        ("probabilities", [[0.5, 0.5]] * 12, r"shape \(12, 2\) for 12 test images and 3 classes"),
        ("test", [0, 0, *range(2, 12)], "a test image twice"),
        ("test", [-1, *range(1, 12)], "rows in test that are not among 0 to 59"),
        ("train", [60], "rows in train that are not among 0 to 59"),
        ("decisions", [3] * 12, "decisions that are not one class for each test image"),
        ("decisions", [0], "decisions that are not one class"),
    ],
)
def test_a_fold_that_no_cross_validation_finds_is_refused(result, name, value, message):
    record = result.to_dict()
    record["folds"][1][name] = value
    with pytest.raises(ValueError, match=f"Fold 1 of the record has .*{message}"):
        CrossValidationResult.from_dict(record)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.json"):
        CrossValidationResult.load(tmp_path / "missing.json")


# ------------------------------------------------------------------------------------ data frames


def test_the_scores_frame_has_a_row_for_every_score(result):
    frame = result.scores_frame()
    assert frame.columns.tolist() == [
        *("score", "class", "mean", "std", "low", "high", "method", "folds_without"),
        *(f"fold_{number}" for number in range(5)),
    ]
    assert frame["class"].tolist() == [None] * 6 + ["covid"] * 4 + ["normal"] * 4 + ["other"] * 4
    assert frame["score"].tolist() == [*metrics.OVERALL, *(3 * metrics.PER_CLASS)]
    for row in frame.itertuples(index=False):
        scores = result.scores if row[1] is None else result.class_scores[row[1]]
        score = scores[row.score]
        assert (row.mean, row.std, row.low, row.high, row.method, row.folds_without) == (
            score.mean,
            score.std,
            score.interval.low,
            score.interval.high,
            score.interval.method,
            0,
        )
        assert row[8:] == score.folds


def test_whole_numbers_stay_whole_in_the_scores_frame(make_result):
    classes = make_result(np.arange(60) % 2).scores_frame()["class"].tolist()
    assert classes == [None] * 6 + [0] * 4 + [1] * 4
    assert {type(value) for value in classes[6:]} == {int}


def test_the_scores_frame_counts_folds_without_a_score(make_result):
    indices = [(np.arange(30, 60), np.arange(30)), (np.arange(30), np.arange(30, 59, 3))]
    frame = make_result(LABELS, indices=indices).scores_frame()
    frame = frame.set_index(["score", "class"])
    assert frame.loc[("sensitivity", "normal"), "folds_without"] == 1
    assert np.isnan(frame.loc[("sensitivity", "normal"), "fold_1"])
    assert np.isnan(frame.loc[("sensitivity", "normal"), "std"])
    assert frame.loc[("specificity", "normal"), "folds_without"] == 0


def test_the_predictions_frame_has_a_row_for_every_prediction(result):
    frame = result.predictions_frame()
    probabilities = [f"probability_{name}" for name in ("covid", "normal", "other")]
    assert frame.columns.tolist() == [
        *("fold", "image", "group", "label", "prediction"),
        *probabilities,
    ]
    frame = frame.sort_values("image")
    assert frame["image"].tolist() == list(range(60))
    assert frame["fold"].tolist() == result.fold_of.tolist()
    assert frame["group"].tolist() == GROUPS.tolist()
    assert frame["label"].tolist() == LABELS.tolist()
    assert frame["prediction"].tolist() == result.predictions.tolist()
    np.testing.assert_array_equal(frame[probabilities].to_numpy(), result.probabilities)


def test_the_predictions_frame_keeps_repeats_apart(partly_repeated):
    frame = partly_repeated.predictions_frame()
    assert frame["fold"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert frame["image"].tolist() == [3, 0, 1, 2, 4, 5, 6, 7, 0, 1, 2, 3]
    assert "group" not in frame.columns
    last = partly_repeated.folds[2].probabilities
    np.testing.assert_array_equal(frame["probability_1"].to_numpy()[8:], last[:, 1])


def test_frames_are_pandas_own(result):
    assert type(result.scores_frame()) is type(result.predictions_frame()) is pandas.DataFrame


@pytest.mark.parametrize("name", ["scores_frame", "predictions_frame"])
def test_without_pandas_the_extra_is_named(result, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pandas, which is an extra: run `pip install '\.\[fra"):
        getattr(result, name)()


# -------------------------------------------------------------------------------------- the table


def parts_of(result):
    """Return the table's parts, which empty lines set apart, as lists of lines."""
    return [part.split("\n") for part in str(result).split("\n\n")]


def test_the_table_begins_with_the_accuracy_its_spread_and_its_interval(result):
    head = parts_of(result)[0]
    assert head[0] == (
        f"accuracy {result.accuracy:.3f} ± {result.accuracy_std:.3f} (share of images; mean ± "
        "standard deviation over 5 folds, groups kept together)"
    )
    assert head[1] == (
        f"95 % interval {result.interval.low:.3f} to {result.interval.high:.3f} "
        "(percentile bootstrap over 30 groups, 2000 draws)"
    )
    assert head[2] == "folds " + "  ".join(f"{value:.3f}" for value in result.accuracies)


def test_the_table_has_all_other_scores_under_their_heads(result):
    head, *lines = parts_of(result)[1]
    shown = ["balanced accuracy", "macro F1", "ROC AUC", "calibration error", "Brier score"]
    for line, label, name in zip(lines, shown, metrics.OVERALL[1:], strict=True):
        score = result.scores[name]
        assert line == (
            f"{label:<18}  {score.mean:.3f} ± {score.std:.3f}  "
            f"{score.interval.low:.3f} to {score.interval.high:.3f}"
        )
        assert line.index(f"{score.mean:.3f}") == head.index("mean")
        assert line[head.index("95 %") :] == (
            f"{score.interval.low:.3f} to {score.interval.high:.3f}"
        )


def test_the_table_has_all_scores_of_each_class_under_their_heads(result):
    head, *lines = parts_of(result)[2]
    heads = ["sensitivity", "specificity", "precision", "ROC AUC"]
    assert head.startswith("class  images  sensitivity")
    for line, (name, scores) in zip(lines, result.class_scores.items(), strict=True):
        assert re.match(rf"{name} +20  ", line)
        for label, score in zip(heads, scores.values(), strict=True):
            low, high = score.interval.low, score.interval.high
            cell = f"{score.mean:.3f} ({low:.3f}–{high:.3f})"
            assert line[head.index(label) :].startswith(cell)


def test_the_table_ends_with_the_confusion_matrix(result):
    title, head, *lines = parts_of(result)[3]
    assert title == "confusion matrix, summed over folds (rows: true, columns: predicted)"
    assert head.split() == ["covid", "normal", "other"]
    for line, name, counts in zip(lines, result.classes, result.confusion_matrix, strict=True):
        assert line.split() == [name, *map(str, counts)]
        assert len(line) == len(head)
    assert len(parts_of(result)) == 4


def test_scores_that_some_folds_lack_are_marked(make_result):
    indices = [(np.arange(30, 60), np.arange(30)), (np.arange(30), np.arange(30, 59, 3))]
    result = make_result(LABELS, indices=indices)
    _, overall, per_class, _, notes = parts_of(result)
    assert notes == [
        "* mean over the folds that have the score: others lack a class, or never predict it.",
        "20 of 60 images were tested by no fold.",
    ]
    f1 = result.scores["macro_f1"]
    assert overall[2].startswith(f"macro F1            {f1.mean:.3f} ±   -  * ")
    assert "*" not in overall[4]
    normal = per_class[2]
    head = per_class[0]
    assert normal[head.index("specificity") : head.index("precision")].count("*") == 0
    for label in ("sensitivity", "precision", "ROC AUC"):
        assert normal[head.index(label) :][:20].endswith("*")


def test_a_class_that_a_fold_tests_without_training_on_it_is_named(make_result):
    without = np.flatnonzero(LABELS[:30] != "other")
    indices = [(without, np.arange(30, 60)), (np.arange(30, 60), np.arange(30))]
    notes = parts_of(make_result(LABELS, indices=indices))[4]
    assert "Not trained on in every fold that tests it, and there counted as wrong: other." in notes
    known = np.flatnonzero(LABELS != "other")
    untested_too = [(known[:20], known[20:]), indices[1]]
    assert "Not trained on" not in str(make_result(LABELS, indices=untested_too))
    assert "Not trained on" not in str(make_result(LABELS))


def test_a_class_that_no_fold_tests_has_dashes(make_result):
    indices = [(np.arange(30, 60), np.arange(0, 30, 3)), (np.arange(30), np.arange(30, 59, 3))]
    result = make_result(LABELS, indices=indices)
    _, overall, per_class, _, _ = parts_of(result)
    assert overall[2] == "macro F1              -   ±   -  *   -   to   -"
    head, line = per_class[0], per_class[2]
    assert line.split()[:2] == ["normal", "0"]
    for label in ("sensitivity", "precision", "ROC AUC"):
        assert line[head.index(label) :][:20].split() == ["-", "*"]
    assert "nan" not in str(result)


def test_a_single_fold_has_no_deviation(make_result):
    found = str(make_result(LABELS, indices=[(np.arange(30), np.arange(30, 60))]))
    assert re.match(r"accuracy 0\.\d{3} ±   -   \(share of images; .* over 1 folds", found)
    assert "30 of 60 images were tested by no fold." in found


@pytest.mark.parametrize(
    ("repeats", "groups"), [(1, None), (3, np.arange(80) // 10), (10, np.arange(80))]
)
def test_the_table_is_at_most_110_characters_wide(make_result, repeats, groups):
    labels = np.array(["other disease", "pneumonia", "normal", "COVID-19"])[np.arange(80) % 4]
    splitter = RepeatedStratifiedKFold(n_splits=5, n_repeats=repeats, random_state=0)
    indices = list(splitter.split(labels, labels))
    lines = str(make_result(labels, indices=indices, groups=groups)).split("\n")
    assert max(map(len, lines)) <= 110
    assert all(line == line.rstrip() for line in lines)
    accuracies = re.search(r"folds ([\d.\s]+)\n\n", "\n".join(lines))[1].split()
    assert len(accuracies) == 5 * repeats


def test_an_interval_of_no_width_is_explained(make_result):
    perfect = [np.eye(2)[np.arange(5) % 2], np.eye(2)[np.arange(5) % 2]]
    indices = [(np.arange(5, 10), np.arange(5)), (np.arange(5), np.arange(5, 10))]
    labels = np.r_[np.arange(5) % 2, np.arange(5) % 2]
    note = "An interval of no width is not certainty: where none of n is wrong, up to 3/n may be "
    found = make_result(labels, indices=indices, probabilities=perfect)
    assert found.interval.low == found.interval.high == 1
    assert f"{note}(n: images)." in parts_of(found)[-1]
    assert note not in str(make_result(LABELS))


def test_repeats_are_said_to_count_more_than_once(partly_repeated):
    notes = parts_of(partly_repeated)[-1]
    assert "An image counts as often as it was tested, in several folds here." in notes


def test_leaks_are_in_the_table(make_result):
    indices = folds.stratified_folds(LABELS, random_state=0)  # groups are torn apart
    result = make_result(LABELS, groups=GROUPS, indices=indices)
    assert "groups on both sides" in str(result)
    title, *lines = parts_of(result)[-1]
    assert title == "LEAKS: the scores above flatter"
    text = " ".join(line.strip() for line in lines)
    assert text == " ".join(f"- {sentence}" for sentence in result.audit.leaks)
    assert max(map(len, lines)) <= 110


def test_without_groups_the_table_says_so(make_result):
    assert "over 5 folds, split without groups)" in str(make_result(LABELS))


def test_arrays_are_not_in_the_representation(result):
    assert (
        repr(result)
        == "CrossValidationResult(classes=array(['covid', 'normal', 'other'], dtype='<U6'))"
    )
