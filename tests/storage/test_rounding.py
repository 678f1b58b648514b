"""Numbers of two machines agree to rounding."""

import pytest

from detl.storage.rounding import agree, are_rounded


def rounded(*numbers, within=1e-3):
    return {"numbers": list(numbers), "within": within}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (rounded(100.0, 0.0), True),
        (rounded(100.09, 0.09), True),  # of the largest, not of each
        (rounded(100.0, 0.2), False),
        (rounded(100.0, 0.0, within=1e-2), False),
        (rounded(100.0), False),
        (rounded(), False),
    ],
)
def test_numbers_agree_to_a_share_of_the_largest(other, expected):
    assert agree(rounded(100.0, 0.0), other) is expected
    assert agree(rounded(), rounded())


def test_only_an_entry_of_that_form_is_compared_so():
    assert are_rounded(rounded(1.0))
    assert not are_rounded({"numbers": [1.0]})
    assert not are_rounded([1.0])
