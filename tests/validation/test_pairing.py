"""Results are paired that are of the same images and folds, and no others."""

import dataclasses

import numpy as np
import pytest

from detl.validation.pairing import check_named, check_paired


@pytest.mark.parametrize("named", [{}, {"a": 1}, [1, 2]])
def test_what_is_no_dict_of_two_is_refused(named):
    with pytest.raises(ValueError, match=r"classifiers is .*; expected a dict of at least two"):
        check_named("classifiers", named)


def test_results_of_the_same_images_and_folds_are_paired(result):
    days = np.datetime64("2020-03-01") + result.groups
    other = dataclasses.replace(result, groups=days.astype(str))
    check_paired({"a": result, "b": dataclasses.replace(result, settings={"other": 1})})
    check_paired({"a": dataclasses.replace(result, groups=days), "b": other})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.roll(np.arange(60), 1)}, r"results\['b'\] has other labels than .*'a'"),
        ({"groups": None}, r"results\['b'\] has other groups"),
        ({"folds": ()}, r"results\['b'\] has other folds .*; cross-validate both with the same"),
    ],
)
def test_others_are_refused_by_what_differs(result, changes, message):
    with pytest.raises(ValueError, match=message):
        check_paired({"a": result, "b": dataclasses.replace(result, **changes)})


def test_what_is_no_result_is_refused(result):
    with pytest.raises(
        TypeError, match=r"results\['b'\] is a dict; expected results of CrossValid"
    ):
        check_paired({"a": result, "b": {}})
