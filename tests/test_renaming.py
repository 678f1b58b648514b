"""Old names still work, and warn with the new name at the line that has the old one."""

import inspect
import warnings

import numpy as np
import pytest

from detl import GradCAM, compare, cross_validate, faithfulness, folds, shortcuts
from detl.metrics import Interval
from detl.renaming import renamed_arguments
from detl.shortcuts.verdicts import ShortcutTest
from detl.validation import Difference


@renamed_arguments(colour="color", size="shape")
def draw(color: str, *, shape: int = 1) -> tuple[str, int]:
    """Draw."""
    return color, shape


def test_an_old_argument_is_taken_and_the_new_name_is_said():
    with pytest.warns(FutureWarning, match=r"draw\(colour=\.\.\.\) is now draw\(color=\.\.\.\)"):
        assert draw(colour="red") == ("red", 1)
    with pytest.warns(FutureWarning) as caught:
        assert draw(colour="red", size=3) == ("red", 3)
    assert [warning.filename for warning in caught] == [__file__] * 2


def test_new_arguments_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert draw("red", shape=2) == draw(color="red", shape=2) == ("red", 2)


def test_both_names_of_one_argument_are_refused():
    with pytest.raises(TypeError, match="got color and colour, the old name of color"):
        draw(color="red", colour="blue")
    with pytest.raises(TypeError, match="multiple values"), pytest.warns(FutureWarning):
        draw("red", colour="blue")


def test_signature_name_and_docstring_are_those_of_the_function():
    assert list(inspect.signature(draw).parameters) == ["color", "shape"]
    assert (draw.__name__, draw.__doc__) == ("draw", "Draw.")


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        (cross_validate, "transfer", "classifier"),
        (compare, "transfers", "classifiers"),
        (shortcuts.examine, "transfer", "classifier"),
        (shortcuts.examine, "collections", "sites"),
        (shortcuts.examine, "attention_threshold", "heatmap_threshold"),
        (shortcuts.heatmap_test, "transfer", "classifier"),
        (shortcuts.region_test, "transfer", "classifier"),
        (shortcuts.site_test, "transfer", "classifier"),
        (shortcuts.site_test, "collections", "sites"),
        (folds.leave_one_site_out, "collections", "sites"),
        (GradCAM.__call__, "class_index", "target_class"),
        (GradCAM.explain, "class_index", "target_class"),
        (faithfulness.deletion, "class_index", "target_class"),
        (faithfulness.insertion, "class_index", "target_class"),
        (faithfulness.road, "class_index", "target_class"),
        (faithfulness.randomization, "class_index", "target_class"),
    ],
)
def test_public_functions_take_their_old_arguments(function, old, new):
    assert new in inspect.signature(function).parameters
    assert old not in inspect.signature(function).parameters
    with pytest.warns(FutureWarning, match=rf"\({new}="), pytest.raises(TypeError, match="missing"):
        function(**{old: None})


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (shortcuts, "Figure", "Estimate"),
        (shortcuts, "attention", "heatmap_test"),
        (shortcuts, "collection_test", "site_test"),
        (shortcuts, "rivals", "baseline_test"),
        (folds, "leave_one_collection_out", "leave_one_site_out"),
    ],
)
def test_modules_have_their_old_names(module, old, new):
    with pytest.warns(FutureWarning, match=f"{old} is now {module.__name__}.{new};") as caught:
        assert getattr(module, old) is getattr(module, new)
    assert caught[0].filename == __file__
    assert old not in dir(module)


def test_an_old_name_can_be_imported():
    with pytest.warns(FutureWarning, match="leave_one_site_out") as caught:
        from detl.folds import leave_one_collection_out
    assert caught[0].filename == __file__
    assert leave_one_collection_out is folds.leave_one_site_out


def test_an_unknown_name_of_a_module_is_refused():
    with pytest.raises(AttributeError, match=r"module 'detl\.shortcuts' has no attribute 'rival'"):
        shortcuts.rival  # noqa: B018


def test_a_shortcut_test_has_its_estimates_under_the_old_name():
    test = ShortcutTest(question="", measure="", estimates={}, threshold=0.3, verdict="")
    with pytest.warns(FutureWarning, match=r"ShortcutTest\.figures is now ShortcutTest\.estimates"):
        assert test.figures is test.estimates


def test_a_difference_has_what_is_detectable_under_the_old_name():
    interval = Interval(low=0.0, high=0.1, method="")
    found = Difference(
        first="a",
        second="b",
        folds=(0.1,),
        mean=0.1,
        interval=interval,
        p_value=0.5,
        p_adjusted=0.5,
        detectable=0.3,
    )
    with pytest.warns(FutureWarning, match=r"Difference\.shown_from is now Difference\.detectable"):
        assert found.shown_from == 0.3


def test_a_warning_of_a_fold_points_at_the_callers_line():
    labels, sites = ["a", "b", "c", "a", "b"], ["x", "x", "x", "y", "y"]
    with pytest.warns(UserWarning, match="site 'x' held out") as caught:
        folds.leave_one_site_out(labels, np.array(sites))
    assert caught[0].filename == __file__
