"""A recommendation prints what was chosen on these folds, and what was chosen inside."""

from dataclasses import replace

import numpy as np
import pytest

from detl import compare_results
from detl.validation import Recommendation
from detl.validation.recommendation import in_words

LABELS = np.array(["covid", "normal", "other"])[np.arange(60) % 3]
BLOCKS = ["block4", "block4", "block3", "block4", "block4"]


@pytest.fixture(scope="module")
def found(make_result):
    """A good recipe, a probe that is as good but for one image, and one that guesses."""
    good = make_result(LABELS, groups=np.arange(60) // 2)
    sure = np.eye(3)[np.arange(60) % 3]

    def with_errors(rows):
        shares = sure.copy()
        shares[rows] = np.roll(shares[rows], 1, axis=1)
        folds = [replace(f, probabilities=shares[f.test].astype("float32")) for f in good.folds]
        return replace(good, folds=tuple(folds))

    probe = with_errors(np.arange(4))
    probe = replace(
        probe,
        folds=tuple(replace(f, chosen={"block": b}) for f, b in zip(probe.folds, BLOCKS)),
    )
    results = {
        "linear probe": probe,
        "domain extension": with_errors(np.arange(3)),
        "thumbnail": with_errors(np.arange(0, 60, 2)),
    }
    return Recommendation(
        recommended="linear probe",
        verdict="linear probe of block4: as good as domain extension",
        score="accuracy",
        recipes=dict.fromkeys([*results, "from scratch"]),
        results=results,
        comparison=compare_results(results),
        seconds={"linear probe": 2.04, "domain extension": 41.2, "thumbnail": 0.1},
        failed={"from scratch": "FoldError: Fold 0 failed"},
    )


def test_the_best_is_that_of_the_highest_score(found):
    assert found.best == "domain extension"
    lead = found.lead("linear probe")
    assert lead.mean == pytest.approx(1 / 60)
    assert lead.low == 0
    assert found.lead("domain extension") is None
    assert found.lead("thumbnail").is_shown


def test_the_table_has_the_best_first_and_marks_what_was_chosen_here(found):
    head, first, second, third, fourth = str(found).splitlines()[2:7]
    assert " ".join(head.split()) == "recipe accuracy 95 % interval points behind the best seconds"
    assert first.split()[:3] == ["domain", "extension", "0.950*"]
    assert "best" in first
    assert second.split()[:3] == ["linear", "probe", "0.933*"]
    assert second.endswith("2.0  <- recommended")
    assert "1.7 (+0.0 to" in second
    assert third.split()[:2] == ["thumbnail", "0.500"]
    assert "!" in third
    assert fourth.split() == ["from", "scratch", "failed"]


def test_what_was_chosen_inside_and_what_failed_is_said_below(found):
    text = " ".join(str(found).split())
    assert "* Chosen on these folds, as one of 3" in text
    assert "does not flatter: block4 in 4, block3 in 1 of 5 folds" in text
    assert "from scratch failed: FoldError: Fold 0 failed" in text
    assert text.endswith("VERDICT linear probe of block4: as good as domain extension.")
    assert found.chosen_blocks == {"linear probe": BLOCKS}


def test_lines_fit_a_terminal(found):
    assert max(map(len, str(found).splitlines())) <= 100


def test_a_frame_has_a_row_for_each_recipe(found):
    frame = found.to_frame().set_index("recipe")
    assert list(frame.index) == [*found.results, "from scratch"]
    assert frame.loc["linear probe", "mean"] == pytest.approx(56 / 60)
    assert frame.loc["linear probe", "behind"] == pytest.approx(1 / 60)
    assert frame.loc["linear probe", "blocks"] == ", ".join(BLOCKS)
    assert frame["recommended"].tolist() == [True, False, False, False]
    assert np.isnan(frame.loc["from scratch", "mean"])
    assert frame.loc["from scratch", "failed"] == "FoldError: Fold 0 failed"


def test_where_nothing_has_the_score_nothing_is_recommended(found):
    none = replace(found, recommended=None)
    assert none.classifier is None
    assert "<- recommended" not in str(none)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0"), (2.04, "2.0"), (41.2, "41"), (3600.4, "3600")]
)
def test_seconds_have_two_digits(seconds, words):
    assert in_words(seconds) == words
