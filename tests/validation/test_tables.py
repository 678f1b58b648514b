"""The table of a result says what it is worth, and what to know about it."""

import re

import numpy as np
import pytest
from sklearn.model_selection import RepeatedStratifiedKFold

from detl import folds, metrics

LABELS = np.array(["covid", "normal", "other"])[np.arange(60) % 3]
GROUPS = np.arange(60) // 2


def parts_of(result):
    """Return the table's parts, which empty lines set apart, as lists of lines."""
    return [part.split("\n") for part in str(result).split("\n\n")]


def test_the_table_says_that_few_groups_make_intervals_too_narrow(make_result, result):
    few = make_result(LABELS, groups=GROUPS % 19)
    assert "2000 draws, too narrow under 20 groups)" in str(few)
    assert "Over 19 groups the intervals are too narrow: they hold the true value less" in str(few)
    assert "too narrow" not in str(result)


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
    assert title == "LEAKS: the scores above are too optimistic"
    text = " ".join(line.strip() for line in lines)
    assert text == " ".join(f"- {sentence}" for sentence in result.audit.leaks)
    assert max(map(len, lines)) <= 110


def test_without_groups_the_table_says_so(make_result):
    assert "over 5 folds, split without groups)" in str(make_result(LABELS))
