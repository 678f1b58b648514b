"""Pictures need matplotlib, but neither a screen nor its global state."""

import io
import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from PIL import Image

from detl import plots
from detl.shortcuts import Estimate, ShortcutReport, ShortcutTest

IMAGES, HEATMAPS = np.zeros((1, 8, 8, 1), "uint8"), np.eye(8)[np.newaxis]


def test_figures_can_be_saved_without_a_screen_and_leave_no_trace(tmp_path):
    script = """
import sys
from types import SimpleNamespace
import numpy as np
from detl import folds, metrics, plots
labels, shares = np.arange(8) % 2, np.full((8, 2), 0.5)
fold = metrics.Predictions(targets=labels, probabilities=shares, units=np.arange(8))
overall, per_class = metrics.scores([fold], random_state=0)
result = SimpleNamespace(
    fold_predictions=[fold], unit="images", settings={"interval_seed": 0}, scores=overall,
    class_scores=dict(enumerate(per_class)), classes=np.arange(2), labels=labels,
    predictions=1 - labels, predicted_rows=np.arange(8), probabilities=shares,
    indices=[(labels, np.arange(8))], suspects=lambda n: SimpleNamespace(rows=np.arange(n)),
)
images, masks = np.zeros((1, 8, 8, 1), "uint8"), np.eye(8)[np.newaxis]
for index, figure in enumerate([
    plots.heatmap_grid(images, masks, titles=["a"], labels=["b"], masks=masks),
    plots.confusion_matrix([[1, 2], [3, 4]]),
    plots.learning_curves({"loss": [2, 1], "accuracy": [0, 1]}),
    plots.roc_curves(result),
    plots.reliability_diagram(result),
    plots.most_confused(result, np.repeat(images, 8, axis=0), n=8),
    plots.audit(folds.audit([(np.arange(4), np.arange(4, 8))], labels)),
]):
    figure.savefig(f"{sys.argv[1]}/{index}.png")
assert not {"matplotlib.pyplot", "keras"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert [path.stat().st_size > 1000 for path in sorted(tmp_path.glob("*.png"))] == [True] * 7


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.overlay(IMAGES, HEATMAPS),
        lambda: plots.heatmap_grid(IMAGES, HEATMAPS),
        lambda: plots.confusion_matrix(np.eye(2)),
        lambda: plots.learning_curves({"loss": [1.0]}),
        lambda: plots.roc_curves(None),
        lambda: plots.reliability_diagram(None),
        lambda: plots.most_confused(None, None),
        lambda: plots.audit(None),
        lambda: plots.comparison(None),
        lambda: plots.net_benefit(None),
        lambda: plots.shortcut_report(None),
        lambda: plots.subgroups(None),
        lambda: plots.training_sizes(None),
    ],
    ids=[
        *("overlay", "heatmap_grid", "confusion_matrix", "learning_curves"),
        *("roc_curves", "reliability_diagram", "most_confused"),
        *("audit", "comparison", "net_benefit", "shortcut_report", "subgroups", "training_sizes"),
    ],
)
def test_without_matplotlib_the_extra_is_named(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"matplotlib, which is an extra: run `pip install '\.\["):
        draw()


@pytest.mark.parametrize(
    "draw",
    [plots.roc_curves, plots.reliability_diagram, lambda r: plots.most_confused(r, IMAGES)],
    ids=["roc_curves", "reliability_diagram", "most_confused"],
)
def test_what_is_no_result_is_refused(draw):
    with pytest.raises(TypeError, match="result is ndarray; expected a CrossValidationResult, as"):
        draw(np.eye(2))


# ----------------------------------------------------------------------- axes of one's own, sizes

CHARTS = {
    "audit": lambda result, **given: plots.audit(result.audit, **given),
    "confusion_matrix": plots.confusion_matrix,
    "learning_curves": plots.learning_curves,
    "net_benefit": lambda result, **given: plots.net_benefit(result.net_benefit("covid"), **given),
    "reliability_diagram": plots.reliability_diagram,
    "roc_curves": plots.roc_curves,
    "shortcut_report": lambda result, **given: plots.shortcut_report(
        ShortcutReport(tests={}, results={"network": result}), **given
    ),
    "subgroups": lambda result, **given: plots.subgroups(
        result.subgroups({"half": np.arange(200) // 100}), **given
    ),
}
charts = pytest.mark.parametrize("draw", CHARTS.values(), ids=CHARTS)


@charts
def test_the_chart_is_drawn_on_the_axes_given_and_its_figure_returned(draw, result, axes):
    figure = draw(result, ax=axes)
    assert figure is axes.figure
    assert axes.has_data()
    figure.draw_without_rendering()
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


@charts
def test_the_axes_of_a_part_of_a_figure_have_the_whole_figure(draw, result):
    whole = matplotlib.figure.Figure(figsize=(9, 4), layout="constrained")
    left, _ = whole.subfigures(1, 2)
    assert draw(result, ax=left.subplots()) is whole


@charts
def test_a_new_figure_has_the_size_given(draw, result):
    assert draw(result, figsize=(8, 5.5)).get_size_inches().tolist() == [8, 5.5]
    assert draw(result, figsize=np.array([8, 5])).get_size_inches().tolist() == [8, 5]


@charts
def test_drawing_leaves_the_settings_of_matplotlib_as_they_are(draw, result):
    names = set(matplotlib.rcParams) - {"backend"}  # reading that one would load pyplot
    before = {name: matplotlib.rcParams[name] for name in names}
    draw(result)
    assert {name: matplotlib.rcParams[name] for name in names} == before


@charts
def test_axes_and_a_size_together_are_refused(draw, result, axes):
    with pytest.raises(ValueError, match=r"ax and figsize=\(4, 3\) are both given, but figsize is"):
        draw(result, ax=axes, figsize=(4, 3))


@charts
def test_what_is_no_axes_is_refused(draw, result):
    with pytest.raises(TypeError, match=r"ax is Figure; expected one axes .* figure.subplots\(\)"):
        draw(result, ax=matplotlib.figure.Figure())
    with pytest.raises(TypeError, match=r"ax is ndarray; expected one axes .* axes\[0\]"):
        draw(result, ax=matplotlib.figure.Figure().subplots(1, 2))


@charts
@pytest.mark.parametrize("size", [(4,), (4, 3, 2), (0, 3), (4, -1), (4, np.inf), (4, np.nan), "ab"])
def test_what_is_no_size_is_refused(draw, result, size):
    expected = r"expected \(width, height\) in inches, such as \(6, 4\)"
    with pytest.raises((TypeError, ValueError), match=f"figsize.*{expected}"):
        draw(result, figsize=size)


def test_a_size_is_two_numbers():
    with pytest.raises(TypeError, match="figsize is int 5; expected"):
        plots.confusion_matrix(np.eye(2), figsize=5)
    with pytest.raises(ValueError, match=r"figsize=\('a', 'b'\); expected"):
        plots.heatmap_grid(IMAGES, HEATMAPS, figsize=("a", "b"))
    with pytest.raises(ValueError, match=r"figsize=\(True, 2\); expected"):
        plots.confusion_matrix(np.eye(2), figsize=(True, 2))


# ------------------------------------------------------------------------------- names of classes

NAMES = ["US$ 5-10 $", "a_$x^$", os.fsdecode(b"r\xe9f")]  # formulas, and no Unicode
SHOWN = ["US$ 5-10 $", "a_$x^$", "r\N{REPLACEMENT CHARACTER}f"]


def shortcut_report_of(result):
    estimates = {name: Estimate(value=0.5, low=0.4, high=0.6, units=50) for name in NAMES}
    test = ShortcutTest(
        question="", measure="share", estimates=estimates, threshold=0.3, verdict="shortcut likely"
    )
    return plots.shortcut_report(ShortcutReport(tests={"x": test}, results={"network": result}))


@pytest.mark.parametrize(
    "draw",
    [
        lambda result, images: plots.confusion_matrix(result),
        lambda result, images: plots.roc_curves(result),
        lambda result, images: plots.most_confused(result, images),
        lambda result, images: plots.heatmap_grid(
            images[:6], np.zeros((6, 8, 8)), labels=result.labels[:6], columns=2
        ),
        lambda result, images: plots.heatmap_grid(
            images[:3], np.zeros((3, 8, 8)), predicted=NAMES, titles=NAMES
        ),
        lambda result, images: shortcut_report_of(result),
    ],
    ids=["confusion", "roc", "mistakes", "grid", "captions", "shortcuts"],
)
def test_names_are_drawn_as_they_are_written(draw, make_result):
    result = make_result(np.array(NAMES)[np.arange(60) % 3])
    figure = draw(result, np.zeros((60, 8, 8, 1), "uint8"))
    figure.draw_without_rendering()  # refuses what is no Unicode, and formulas that are none
    texts = figure.findobj(matplotlib.text.Text)
    for name in SHOWN:
        found = [text for text in texts if name in text.get_text()]
        assert found, name
        assert not any(text.get_parse_math() for text in found)


def test_a_notebook_shows_a_figure_that_pyplot_does_not_know(make_result):
    figure = plots.confusion_matrix(make_result(np.arange(60) % 3))
    shown = Image.open(io.BytesIO(figure._repr_png_()))
    assert shown.format == "PNG"
    expected = figure.get_size_inches() * 110
    np.testing.assert_allclose(shown.size, expected, atol=1)
    assert np.asarray(shown.convert("L")).std() > 10  # something is drawn
