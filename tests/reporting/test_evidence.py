"""The sections that follow from a result say what is in it."""

import dataclasses

import numpy as np

from detl.reporting import evidence


def cells(table):
    return {row[0]: row[1:] for row in table.rows}


def test_the_first_screen_says_what_was_classified(result):
    found = evidence.headline(result)
    assert found.says == (
        "120 images of 40 groups were classified: covid (40), normal (40), other (40). Every "
        "prediction is of a network that was not trained on that image: 5 folds, with all images "
        "of a group on one side."
    )
    (matrix,) = found.tables
    assert [list(map(int, row[1:])) for row in matrix.rows] == result.confusion_matrix.tolist()
    np.testing.assert_allclose(matrix.shades, result.confusion_matrix / 40, atol=5e-4)


def test_groups_on_both_sides_are_said_on_the_first_screen(make_result, result):
    halves = [(np.arange(59), np.arange(59, 120))]
    leaking = make_result(result.labels, groups=result.groups, indices=halves)
    assert "WITH GROUPS ON BOTH SIDES" in evidence.headline(leaking).says
    alone = make_result(result.labels)
    assert "5 folds, split without groups." in evidence.headline(alone).says


def test_two_hundred_classes_are_a_picture_and_not_a_list(make_result):
    many = make_result(
        np.char.add("c", (np.arange(400) % 200).astype(str)),
        groups=None,
        indices=[(np.arange(200), np.arange(200, 400))],
    )
    found = evidence.headline(many)
    assert "400 images were classified: 200 classes." in found.says
    assert found.tables == ()
    assert len(found.pictures) == 1
    assert evidence.calibration(many).tables == ()


def test_scores_have_their_intervals(result):
    overall, by_class = map(cells, evidence.scores(result).tables)
    accuracy = result.scores["accuracy"]
    assert overall["accuracy"][0] == (
        f"{accuracy.mean:.3f} ({accuracy.interval.low:.3f} to {accuracy.interval.high:.3f})"
    )
    assert by_class["covid"][0] == "40"
    sensitivity = result.class_scores["covid"]["sensitivity"].mean
    assert by_class["covid"][1].startswith(f"{sensitivity:.3f} (")


def test_calibration_has_slopes_and_temperature(result):
    slopes, before_after = evidence.calibration(result).tables
    found = result.recalibration()
    assert cells(slopes)["normal"] == (str(found.slopes["normal"]), str(found.intercepts["normal"]))
    assert f"Temperature {found.temperature:.2f}" in before_after.caption


def test_doubtful_images_have_their_file_and_are_shown_where_images_are_given(result, images):
    names = [f"{row}.png" for row in range(120)]
    without = evidence.doubtful(result, None, names)
    assert without.pictures == ()
    row = result.suspects(1).rows[0]
    assert (without.tables[0].rows[0][0], without.tables[0].rows[0][-1]) == (str(row), f"{row}.png")
    assert len(evidence.doubtful(result, images, None).pictures) == 1


def test_where_all_are_right_no_label_is_doubted(make_result):
    labels = np.array(["a", "b"])[np.arange(20) % 2]
    sure = np.eye(2)[np.arange(20) % 2] * 0.8 + 0.1
    right = make_result(
        labels, indices=[(np.arange(10), np.arange(10, 20))], probabilities=[sure[10:]]
    )
    assert evidence.doubtful(right, None, None) is None


def test_a_training_that_failed_is_said(make_result, result):
    flat = [{"loss": [1.0] * 12, "accuracy": [0.34] * 12}]
    failed = make_result(result.labels, groups=result.groups, histories=flat)
    assert "has hardly learned" in evidence.training(failed).says
    silent = [dataclasses.replace(fold, history={}) for fold in result.folds]
    assert evidence.training(dataclasses.replace(result, folds=tuple(silent))) is None


def test_the_audit_says_what_flatters(make_result, result):
    assert evidence.audit(result).says.startswith("The checks that were made found no leak")
    halves = [(np.arange(59), np.arange(59, 120))]
    leaking = make_result(result.labels, groups=result.groups, indices=halves)
    found = evidence.audit(leaking)
    assert found.says.startswith("These images or groups are on both sides of a split")
    assert found.points == leaking.audit.leaks


def test_settings_are_one_row_each(result):
    rows = cells(evidence.settings(result).tables[0])
    assert rows["transfer: epochs"] == ("2",)
    assert rows["fold seeds"] == ("0, 1, 2, 3, 4",)
