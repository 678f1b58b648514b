"""Pictures need matplotlib, but neither a screen nor its global state."""

import os
import subprocess
import sys

import matplotlib
import numpy as np
import pytest

from detl import plots
from detl.shortcuts import Estimate, ShortcutReport, ShortcutTest

IMAGES, HEATMAPS = np.zeros((1, 8, 8, 1), "uint8"), np.eye(8)[np.newaxis]


def test_figures_can_be_saved_without_a_screen_and_leave_no_trace(tmp_path):
    script = """
import sys
from types import SimpleNamespace
import numpy as np
from detl import metrics, plots
labels, shares = np.arange(8) % 2, np.full((8, 2), 0.5)
fold = metrics.Predictions(targets=labels, probabilities=shares, units=np.arange(8))
overall, per_class = metrics.scores([fold], random_state=0)
result = SimpleNamespace(
    fold_predictions=[fold], unit="images", settings={"interval_seed": 0}, scores=overall,
    class_scores=dict(enumerate(per_class)), classes=np.arange(2), labels=labels,
    predictions=1 - labels, predicted_rows=np.arange(8), probabilities=shares,
    indices=[(labels, np.arange(8))],
)
images, masks = np.zeros((1, 8, 8, 1), "uint8"), np.eye(8)[np.newaxis]
for index, figure in enumerate([
    plots.heatmap_grid(images, masks, titles=["a"], labels=["b"], masks=masks),
    plots.confusion_matrix([[1, 2], [3, 4]]),
    plots.learning_curves({"loss": [2, 1], "accuracy": [0, 1]}),
    plots.roc_curves(result),
    plots.reliability_diagram(result),
    plots.most_confused(result, np.repeat(images, 8, axis=0)),
]):
    figure.savefig(f"{sys.argv[1]}/{index}.png")
assert not {"matplotlib.pyplot", "keras"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert [path.stat().st_size > 1000 for path in sorted(tmp_path.glob("*.png"))] == [True] * 6


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
    ],
    ids=[
        *("overlay", "heatmap_grid", "confusion_matrix", "learning_curves"),
        *("roc_curves", "reliability_diagram", "most_confused"),
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
