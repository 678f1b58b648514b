"""The table has what is here, what was internal, and what changed."""

import numpy as np
import pytest

from detl.validation.evaluation import Evaluation


@pytest.fixture
def evaluation(result):
    """Return an evaluation of 40 images, held against the result of sixty."""
    labels = np.array(["covid", "normal", "normal", "other"])[np.arange(40) % 4]
    shares = np.random.default_rng(0).dirichlet([1, 1, 1], 40).astype("float32")
    return Evaluation(
        classes=result.classes,
        labels=labels,
        groups=np.arange(40) // 4,
        probabilities=shares,
        decisions=None,
        leaks=("2 groups were trained on, such as 1, 2: 8 of 40 images.",),
        internal=result,
        settings={"interval_seed": 0},
    )


def test_the_headline_has_accuracy_here_and_internally(evaluation):
    change = evaluation.changes["accuracy"]
    low, high = 100 * change.interval.low, 100 * change.interval.high
    lines = str(evaluation).splitlines()
    assert lines[0] == (f"accuracy {evaluation.accuracy:.3f} (share of 40 external images)")
    assert lines[2] == (
        f"internally {evaluation.internal_scores['accuracy']:.3f}; {100 * change.value:+.1f} "
        f"({low:+.1f} to {high:+.1f}) points here"
    )


def test_each_score_has_its_change(evaluation):
    (line,) = [x for x in str(evaluation).splitlines() if x.startswith("ROC AUC")]
    score, change = evaluation.scores["roc_auc"], evaluation.changes["roc_auc"]
    assert line.split()[2] == f"{score.mean:.3f}"
    assert line.split()[6:8] == [
        f"{evaluation.internal_scores['roc_auc']:.3f}",
        f"{change.value:+.3f}",
    ]


def test_each_class_has_its_scores_and_their_changes(evaluation):
    lines = str(evaluation).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("class "))
    sensitivity = evaluation.class_scores["normal"]["sensitivity"].mean
    assert lines[start + 2].split()[:3] == ["normal", "20", f"{sensitivity:.3f}"]
    assert lines[start + 4] == "change from the internal result, in points"
    change = evaluation.class_changes["normal"]["sensitivity"].value
    assert lines[start + 6].split()[:2] == ["normal", f"{100 * change:+.1f}"]


def test_what_to_know_about_it_is_said(evaluation):
    text = " ".join(str(evaluation).split())
    assert "The classes have other shares here than internally." in text
    assert "Over 10 groups the intervals are too narrow." in text
    assert text.endswith(
        "LEAKS: the scores above are too optimistic - 2 groups were trained on, such as 1, 2: 8 of "
        "40 images."
    )
