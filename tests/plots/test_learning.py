"""Learning curves are the histories, fold by fold, around their mean."""

from types import SimpleNamespace

import numpy as np
import pytest

from detl import plots
from detl.plots import theme


def history(epochs=4, *, validation=True, seed=0):
    generator = np.random.default_rng(seed)
    names = ["loss", "accuracy", *(["val_loss", "val_accuracy"] if validation else [])]
    return {name: generator.uniform(size=epochs).tolist() for name in names}


def curves_of(axis):
    return {line.get_label(): line.get_xydata() for line in axis.lines}


def test_loss_and_accuracy_are_drawn_over_the_epochs():
    one = history()
    figure = plots.learning_curves(one)
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss", "accuracy"]
    for axis, metric in zip(figure.axes, ("loss", "accuracy"), strict=True):
        curves = curves_of(axis)
        assert set(curves) == {"training", "validation"}
        for label, key in (("training", metric), ("validation", f"val_{metric}")):
            np.testing.assert_array_equal(curves[label][:, 0], [1, 2, 3, 4])
            np.testing.assert_array_equal(curves[label][:, 1], one[key])
        assert [t.get_text() for t in axis.get_legend().get_texts()] == ["training", "validation"]
        assert axis.get_xlabel() == "epoch"


def test_folds_are_thin_lines_around_their_mean():
    folds = [history(validation=False, seed=seed) for seed in range(5)]
    figure = plots.learning_curves(folds)
    *thin, mean = figure.axes[1].lines
    for line, one in zip(thin, folds, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), one["accuracy"])
        assert line.get_linewidth() < mean.get_linewidth()
    expected = np.mean([one["accuracy"] for one in folds], axis=0)
    np.testing.assert_allclose(mean.get_ydata(), expected)
    assert mean.get_label() == "training, mean of 5"


@pytest.mark.parametrize("n_folds", [2, 20])
def test_each_fold_has_a_colour_of_its_own_which_a_legend_names(n_folds):
    figure = plots.learning_curves([history(seed=seed) for seed in range(n_folds)])
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"fold {k}" for k in range(n_folds)]
    named = [line.get_color() for line in legend.get_lines()]
    assert len(set(named)) == n_folds
    for axis in figure.axes:
        thin = [line for line in axis.lines if line.get_linewidth() < 1]
        assert [line.get_color() for line in thin] == 2 * named
        assert [line.get_linestyle() for line in thin] == ["-"] * n_folds + ["--"] * n_folds
    figure.draw_without_rendering()
    box = legend.get_window_extent()
    assert 0 <= box.y0
    assert box.y1 <= figure.bbox.y1


def test_a_fold_keeps_its_colour_where_others_have_no_validation():
    folds = [history(validation=False), history(seed=1)]
    loss = plots.learning_curves(folds).axes[0]
    first, second, mean, validation, mean_validation = loss.lines
    assert validation.get_color() == second.get_color() != first.get_color()
    np.testing.assert_array_equal(validation.get_ydata(), mean_validation.get_ydata())
    assert (mean.get_label(), mean_validation.get_label()) == (
        "training, mean of 2",
        "validation, mean of 1",
    )


def test_more_than_20_folds_are_not_named():
    figure = plots.learning_curves([history(2, seed=seed) for seed in range(21)])
    assert figure.legends == []
    assert len({line.get_color() for line in figure.axes[0].lines[:21]}) == 21


def test_a_single_history_needs_no_legend_of_folds():
    figure = plots.learning_curves(history())
    assert figure.legends == []
    colours = {line.get_label(): line.get_color() for line in figure.axes[0].lines}
    assert colours == {"training": theme.MAIN, "validation": theme.RIVAL}


def test_a_cross_validation_brings_the_histories_of_its_folds(result):
    loss, accuracy = plots.learning_curves(result).axes
    for axis, name in ((loss, "loss"), (accuracy, "accuracy")):
        *thin, mean = axis.lines
        assert [line.get_ydata().tolist() for line in thin] == [h[name] for h in result.histories]
        assert mean.get_label() == "training, mean of 5"


def test_the_mean_ends_with_the_shortest_fold():
    figure = plots.learning_curves([history(4), history(2, seed=1)])
    mean = curves_of(figure.axes[0])["training, mean of 2"]
    assert mean[:, 0].tolist() == [1, 2]
    assert max(len(line.get_xdata()) for line in figure.axes[0].lines) == 4


def test_a_single_epoch_is_a_point():
    figure = plots.learning_curves(history(1))
    assert all(line.get_marker() == "o" for axis in figure.axes for line in axis.lines)
    ticks = figure.axes[0].get_xticks()
    np.testing.assert_array_equal(ticks, ticks.round())


def test_without_accuracy_there_is_the_loss_alone():
    figure = plots.learning_curves({"loss": [2.0, 1.0]})
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss"]


@pytest.mark.parametrize("name", ["histories", "history", "history_"])
def test_a_result_brings_its_histories(name):
    one = history()
    carrier = SimpleNamespace(**{name: [one] if name == "histories" else one})
    curves = curves_of(plots.learning_curves(carrier).axes[0])
    np.testing.assert_array_equal(curves["training"][:, 1], one["loss"])


@pytest.mark.parametrize("wrong", [None, "history", [], 3])
def test_what_is_no_history_is_refused(wrong):
    with pytest.raises(TypeError, match=r"history is \w+; expected a dict of lists"):
        plots.learning_curves(wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"accuracy": [1.0]}, r"no 'loss', but \['accuracy'\]"),
        ({"loss": []}, r"no 'loss', but \['loss'\]; expected one entry per epoch"),
        ([history(), 3], "no 'loss', but int"),
    ],
)
def test_a_history_without_a_loss_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        plots.learning_curves(wrong)


def test_one_score_is_drawn_alone():
    one = history()
    (axis,) = plots.learning_curves(one, score="accuracy").axes
    assert axis.get_ylabel() == "accuracy"
    np.testing.assert_array_equal(curves_of(axis)["validation"][:, 1], one["val_accuracy"])
    with pytest.raises(ValueError, match="score='auc'; expected one of 'loss', 'accuracy'"):
        plots.learning_curves(one, score="auc")
    with pytest.raises(ValueError, match="score='accuracy'; expected one of 'loss'"):
        plots.learning_curves({"loss": [1.0]}, score="accuracy")


def test_on_axes_of_ones_own_there_is_the_loss_and_no_legend_of_folds(axes):
    folds = [history(seed=seed) for seed in range(3)]
    figure = plots.learning_curves(folds, ax=axes)
    assert axes.get_ylabel() == "loss"
    assert figure.legends == []
    assert [t.get_text() for t in axes.get_legend().get_texts()] == [
        "training, mean of 3",
        "validation, mean of 3",
    ]
