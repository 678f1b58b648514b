"""Results show themselves in a notebook, and names with markup are text."""

import numpy as np
import pytest

from detl.notebook import ShowsItself, details, with_matrix


class Marked(ShowsItself):
    def __str__(self):
        return "a <b>\nc"


def test_what_prints_shows_itself_as_it_prints():
    shown = Marked()._repr_html_()
    assert shown.startswith("<pre")
    assert "a &lt;b&gt;\nc</pre>" in shown
    assert details("<more>", "<text>").count("&lt;") == 2


def test_a_confusion_matrix_is_shaded_by_shares():
    shown = with_matrix("accuracy", [[3, 1], [0, 0]], ["a", "<b>"], ["a", "<b>"])
    assert '<td style="background: rgba(29, 95, 174, 0.41)">3</td>' in shown  # 3 of 4, of 0.55
    assert '<td style="background: rgba(29, 95, 174, 0.00)">0</td>' in shown
    assert "<th>&lt;b&gt;</th>" in shown
    assert "<b>" not in shown


def test_a_matrix_of_many_classes_is_left_out():
    assert "<table" not in with_matrix("x", np.eye(21), range(21), range(21))
    assert "<table" in with_matrix("x", np.eye(20), range(20), range(20))


@pytest.fixture
def result(make_result):
    labels = np.array(["<i>", "normal"])[np.arange(80) % 2]
    return make_result(labels, groups=np.arange(80) // 2 % 40)


def test_a_result_shows_headline_matrix_and_table(result):
    shown = result._repr_html_()
    assert shown.startswith(f"<p><strong>accuracy {result.accuracy:.3f} ±")
    assert "<table>" in shown
    assert "<summary>All scores</summary>" in shown
    assert "<i>" not in shown


def test_audits_and_analyses_show_themselves(result):
    found = [
        result.audit,
        result.suspects(),
        result.subgroups({"half": np.arange(80) < 40}),
        result.operating_point("normal", threshold=0.5),
        result.net_benefit("normal"),
        result.recalibration(),
    ]
    for one in found:
        assert one._repr_html_().startswith("<pre")
        assert "<i>" not in one._repr_html_()
