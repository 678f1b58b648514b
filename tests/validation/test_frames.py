"""A result as data frames of pandas: a row for every score, and for every prediction."""

import sys

import numpy as np
import pandas
import pytest

from detl import metrics

LABELS = np.array(["covid", "normal", "other"])[np.arange(60) % 3]
GROUPS = np.arange(60) // 2


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
