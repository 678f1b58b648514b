"""Pictures from results and heatmaps."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detl.checks import check_count, check_images, check_labels
from detl.metrics import scoring
from detl.plots.drawing import (
    Array,
    as_colours,
    blend,
    draw_boxes,
    draw_course,
    draw_intervals,
    draw_outline,
    draw_shares,
    find_colormap,
    fold_colours,
    readable_on,
    require_matplotlib,
    rows_of,
)
from detl.shortcuts.verdicts import ShortcutReport, ShortcutTest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from detl.validation.results import CrossValidationResult

History: TypeAlias = Mapping[str, Sequence[float]]

_SIDE = 1.6  # of an image in a grid, inches
_WIDE = 2.3  # of one with a title of three lines
_LABEL_WIDTH = 44  # of an axis, characters


def overlay(images: Any, heatmaps: Any, *, alpha: float = 0.5, colormap: str = "inferno") -> Array:
    """Lay heatmaps over their images.

    Parameters
    ----------
    images : array-like of shape (n, height, width, channels)
        Pixels in [0, 255]; 1 channel (grey) or 3.
    heatmaps : array-like of shape (n, height, width)
        In [0, 1], as :class:`detl.GradCAM` gives them.
    alpha : float, default=0.5
        Share of the heatmap in every pixel, in [0, 1]; the image has the rest.
    colormap : str, default="inferno"
        Name of a matplotlib colour map. The default is perceptually uniform: equal steps in the
        heatmap look equal. ``"jet"`` gives the look of the paper (Basu et al. 2020, Fig. 4: red is
        most attended), with steps that are not in the data.

    Returns
    -------
    numpy.ndarray of uint8, shape (n, height, width, 3)
        Red, green and blue, in [0, 255].

    Raises
    ------
    ImportError
        If matplotlib, an extra, is not installed.
    ValueError
        If heatmaps and images do not fit each other, or values are out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from detl import plots
    >>> grey = np.full((1, 1, 2, 1), 200, dtype="uint8")
    >>> plots.overlay(grey, [[[0, 1]]], colormap="gray").tolist()  # black and white, half mixed in
    [[[[100, 100, 100], [228, 228, 228]]]]
    """
    require_matplotlib()
    images, heatmaps = _check_pictures(images, heatmaps)
    _check_share(alpha)
    return blend(as_colours(images), heatmaps, alpha, find_colormap(colormap))


def heatmap_grid(
    images: Any,
    heatmaps: Any,
    *,
    labels: Any = None,
    predicted: Any = None,
    scores: Any = None,
    titles: Any = None,
    boxes: Any = None,
    masks: Any = None,
    columns: int = 4,
    alpha: float = 0.5,
    colormap: str = "inferno",
) -> Figure:
    """Draw every image beside its overlay, as in Fig. 4 of Basu et al. 2020.

    Parameters
    ----------
    images, heatmaps, alpha, colormap
        As for :func:`overlay`.
    labels : array-like of shape (n,), optional
        True class of each image. Images of one class share a row (or several, where they are more
        than ``columns``), in the order in which the classes first occur, and the row says which.
    predicted : array-like of shape (n,), optional
        What the model takes each image for; written over it, with a tick or a cross where the true
        class is given too.
    scores : array-like of shape (n,), optional
        A number to write over each image, such as the probability of the class explained.
    titles : array-like of str, shape (n,), optional
        What else to write over each image, in a line of its own.
    boxes : array-like or data frame of shape (n, 4), or sequence of n of shape (k, 4), optional
        ``(x, y, width, height)`` from the upper left corner, in pixels; one box per image, or
        several, or none. They are drawn on image and overlay.
    masks : array-like of bool, shape (n, height, width), optional
        Regions whose outline is drawn on image and overlay, such as lesions.
    columns : int, default=4
        Greatest number of images in a row.

    Returns
    -------
    matplotlib.figure.Figure
        With a colour bar. A heatmap that is zero everywhere is marked as blank.

    Raises
    ------
    ImportError
        If matplotlib, an extra, is not installed.
    ValueError
        If the arrays do not fit each other, or values are out of range.
    """
    require_matplotlib()
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    images, heatmaps = _check_pictures(images, heatmaps)
    _check_share(alpha)
    check_count("columns", columns)
    cmap = find_colormap(colormap)
    n = len(images)
    labels = None if labels is None else check_labels(labels, n, name="labels")
    captions = _captions(n, labels=labels, predicted=predicted, scores=scores, titles=titles)
    boxes = [()] * n if boxes is None else _check_boxes(boxes, n)
    masks = None if masks is None else _check_masks(masks, heatmaps.shape)

    plain = as_colours(images)
    blended = blend(plain, heatmaps, alpha, cmap)
    rows = rows_of(n, labels, columns)
    names = [""] * len(rows) if labels is None else [str(labels[row[0]]) for row in rows]
    columns = max(map(len, rows))
    height, width = images.shape[1:3]
    figure = Figure(
        figsize=(2 * columns * _SIDE + 1.2, len(rows) * (_SIDE * height / width + 0.3)),
        layout="constrained",
    )
    axes = figure.subplots(len(rows), 2 * columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for name, row, row_of_axes in zip(names, rows, axes, strict=True):
        # Axes that are off hide their labels; a text stays.
        side = {"transform": row_of_axes[0].transAxes, "rotation": "vertical", "ha": "right"}
        row_of_axes[0].text(-0.08, 0.5, name, va="center", **side)
        for index, pair in zip(row, row_of_axes.reshape(-1, 2)):  # the last row may be short
            for axis, picture in zip(pair, (plain[index], blended[index]), strict=True):
                axis.imshow(picture)
                draw_boxes(axis, boxes[index])
                if masks is not None and masks[index].any():
                    draw_outline(axis, masks[index])
            if not heatmaps[index].any():
                pair[1].set_title("blank", fontsize="small", loc="right")
            pair[0].set_title(captions[index], fontsize="small", loc="left")
    bar = figure.colorbar(ScalarMappable(cmap=cmap), ax=axes, aspect=30, pad=0.01)
    bar.set_label("relative attention", fontsize="small")
    return figure


def confusion_matrix(
    matrix_or_result: Any, class_names: Any = None, *, normalize: bool = False
) -> Figure:
    """Draw a confusion matrix, as in Fig. 3 of Basu et al. 2020.

    Every cell has its count of images and its share of the true class's.

    Parameters
    ----------
    matrix_or_result : array-like of shape (n_classes, n_classes), or CrossValidationResult
        Counts; rows are true classes, columns predicted ones.
    class_names : array-like of shape (n_classes,), optional
        By default the result's classes; for a matrix, their indices.
    normalize : bool, default=False
        Whether colours show the shares instead of the counts, so that a rare class is as visible
        as a frequent one.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib, an extra, is not installed.
    ValueError
        If the matrix is not square, has negative numbers, or other classes than names.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    matrix = _check_matrix(getattr(matrix_or_result, "confusion_matrix", matrix_or_result))
    if class_names is None:
        class_names = getattr(matrix_or_result, "classes", range(len(matrix)))
    class_names = check_labels(class_names, len(matrix), name="class_names", of="rows")
    names = [textwrap.fill(str(name), 24) for name in class_names]

    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.where(totals > 0, totals, 1)
    side = 1.6 + 1.05 * len(matrix)
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axis = figure.subplots()
    shown = axis.imshow(shares if normalize else matrix, cmap="Blues", vmin=0)
    shown.set_clim(vmax=1 if normalize else max(1, matrix.max()))
    for (i, j), count in np.ndenumerate(matrix):
        share = f"{100 * shares[i, j]:.1f} %" if totals[i] else "no images"
        colour = readable_on(shown.cmap(shown.norm(shares[i, j] if normalize else count)))
        axis.text(j, i, f"{count:.10g}\n{share}", ha="center", va="center", color=colour)
    axis.set_xticks(range(len(names)), names)
    if (
        max(len(line) for name in names for line in name.split("\n")) > 10
    ):  # longer than a cell is wide
        axis.tick_params("x", labelrotation=45)
        for label in axis.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    axis.spines[:].set_visible(False)
    quantity = "share of the true class" if normalize else "images"
    figure.colorbar(shown, ax=axis, label=quantity, fraction=0.05)
    return figure


def roc_curves(result: CrossValidationResult) -> Figure:
    """Draw each class's ROC curve, one class against the rest.

    Parameters
    ----------
    result : CrossValidationResult

    Returns
    -------
    matplotlib.figure.Figure
        A panel per class: the mean over folds of the sensitivity at each false positive rate, its
        pointwise 95 % band, the folds as thin lines, and the area under the curve with its
        interval, which is ``result.class_scores[label]["roc_auc"]``. Folds that lack the class, or
        any other, are left out.

    Raises
    ------
    ImportError
        If matplotlib, an extra, is not installed.
    TypeError
        If what was given is no result.

    Notes
    -----
    The band is a percentile bootstrap of 500 draws over the result's groups, or images where there
    are no groups, with the result's own seed, see :func:`detl.metrics.roc_curves`.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    _check_result(result)
    curves = scoring.roc_curves(
        result.fold_predictions, unit=result.unit, random_state=result.settings["interval_seed"]
    )
    columns = math.ceil(math.sqrt(len(curves))) if len(curves) > 3 else len(curves)
    n_rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(3.6 * columns, 3.7 * n_rows + 0.5), layout="constrained")
    axes = figure.subplots(n_rows, columns, squeeze=False)
    for axis in axes.flat[len(curves) :]:
        axis.set_axis_off()
    for axis, curve, (name, scores) in zip(axes.flat, curves, result.class_scores.items()):
        axis.set_title(textwrap.fill(str(name), 40), fontsize="medium")
        axis.set_aspect("equal")
        draw_shares(axis, x="1 - specificity", y="sensitivity")
        _draw_roc(axis, curve, scores["roc_auc"])
    caption = f"thin lines: folds; AUC with 95 % interval\nband: 95 %, {curves[0].method}"
    figure.supxlabel(caption, fontsize="small")
    return figure


def reliability_diagram(result: CrossValidationResult, *, n_bins: int = 10) -> Figure:
    """Draw how often the classifier is right over how sure it is, as Guo et al. 2017, Fig. 1.

    Parameters
    ----------
    result : CrossValidationResult
    n_bins : int, default=10
        Bins of equal width between 0 and 1.

    Returns
    -------
    matplotlib.figure.Figure
        Above, the accuracy in each bin of confidence (the predicted class's probability), over the
        test images of all folds; the more images, the larger the point. A point below the diagonal
        means that the classifier is surer than it is right. Below, the number of images in each
        bin; with repeats, each counts as often as it was tested.

    Raises
    ------
    ImportError
        If matplotlib, an extra, is not installed.
    TypeError
        If what was given is no result.
    ValueError
        If ``n_bins`` is below one.

    Notes
    -----
    The calibration error is ``result.scores["calibration_error"]``: the mean over folds, in 15
    bins, whatever ``n_bins`` is.

    References
    ----------
    Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    _check_result(result)
    every = np.concatenate([fold.probabilities for fold in result.fold_predictions])
    targets = np.concatenate([fold.targets for fold in result.fold_predictions])
    sure = every.max(axis=1)
    bins, confidence, accuracy, images = scoring.reliability_by_bin(
        every.argmax(axis=1) == targets, sure, n_bins
    )
    figure = Figure(figsize=(4.6, 5.6), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    draw_shares(above, x="", y="accuracy")
    above.vlines(confidence, accuracy, confidence, color="tab:red", linewidth=1.5, label="gap")
    size = 10 + 200 * images / images.max()  # a bin of few images is mostly chance
    above.scatter(confidence, accuracy, s=size, color="tab:blue", zorder=2, label="accuracy")
    above.legend(frameon=False, loc="lower right", markerscale=0.6)
    error = _with_interval(result.scores["calibration_error"])
    above.set_title(
        f"calibration error {error}\nmean over folds, with 95 % interval", fontsize="medium"
    )
    bars = below.bar(
        (bins + 0.5) / n_bins,
        images,
        width=1 / n_bins,
        color="lightgrey",
        edgecolor="grey",
    )
    below.bar_label(bars, fontsize="x-small", padding=1)
    below.margins(y=0.2)
    below.set(xlabel="confidence", ylabel="images")
    return figure


def most_confused(
    result: CrossValidationResult, images: Any, *, n: int = 12, columns: int = 4
) -> Figure:
    """Show the images whose true class got the least probability: wrong, and sure of it.

    Look at them first: they are wrong labels, bad images, or what the classifier cannot do.

    Parameters
    ----------
    result : CrossValidationResult
    images : array-like of shape (n_images, height, width, channels)
        The cross-validated images, pixels in [0, 255]; 1 channel (grey) or 3. Of a memory map,
        only the images shown are read.
    n : int, default=12
        Number of images; fewer where no more were tested.
    columns : int, default=4
        Greatest number of images in a row.

    Returns
    -------
    matplotlib.figure.Figure
        The most confused image first. Each title has the true and the predicted class with their
        probabilities (with repeats, their mean), the image's row index and the fold, or folds,
        that tested it.

    Raises
    ------
    ImportError
        If matplotlib, an extra, is not installed.
    TypeError
        If what was given is no result, or no images.
    ValueError
        If the images are not as many as the result's, or not pictures.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    _check_result(result)
    check_count("n", n)
    check_count("columns", columns)
    truth = np.searchsorted(result.classes, result.labels)
    of_truth = np.take_along_axis(result.probabilities, truth[:, np.newaxis], axis=1)[:, 0]
    n = min(n, int(np.isfinite(of_truth).sum()))
    chosen = np.argsort(of_truth, kind="stable")[:n]  # NaN, never tested, comes last
    pictures = as_colours(_check_channels(_rows_of_images(images, chosen, len(truth))))

    n_rows = math.ceil(n / columns)
    columns = min(n, columns)
    titles = []
    for row in chosen:
        tested_in = [str(k) for k, (_, test) in enumerate(result.indices) if row in test]
        lines = [
            f"true: {result.labels[row]} ({of_truth[row]:.3f})",
            f"predicted: {result.predictions[row]} ({result.probabilities[row].max():.3f})",
            f"image {row}, fold{'s' * (len(tested_in) > 1)} {', '.join(tested_in)}",
        ]
        titles.append("\n".join(textwrap.fill(line, 40) for line in lines))
    height, width = pictures.shape[1:3]
    above = 0.15 + 0.12 * max(title.count("\n") + 1 for title in titles)
    figure = Figure(
        figsize=(columns * _WIDE, n_rows * (_WIDE * height / width + above)), layout="constrained"
    )
    axes = figure.subplots(n_rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, picture, title in zip(axes.flat, pictures, titles):
        axis.imshow(picture)
        axis.set_anchor("S")  # what is spare goes to the title
        axis.set_title(title, fontsize="x-small", loc="left")
    return figure


def learning_curves(history: Any) -> Figure:
    """Draw loss and accuracy over the epochs, for training and, where known, validation.

    Parameters
    ----------
    history : dict, sequence of dict, or what has them
        ``loss`` and, where known, ``accuracy``, ``val_loss`` and ``val_accuracy``, one entry per
        epoch. Several histories, those of folds, are thin lines of different colours around their
        mean; up to 20 are named. A SourceModel, a fitted DomainExtensionTransfer, a
        CrossValidationResult and what Keras's ``fit`` returns carry theirs.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib, an extra, is not installed.
    TypeError, ValueError
        If there is no history, or none with a loss.
    """
    require_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    histories = _histories(history)
    names = [name for name in ("loss", "accuracy") if name in histories[0]]
    figure = Figure(figsize=(4.8 * len(names), 3.6), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
        if len(histories) == 1:
            _draw_training(axis, histories[0], name)
        else:
            _draw_folds(axis, histories, name)
        axis.set_xlabel("epoch")
        axis.set_ylabel(name)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    if 1 < len(histories) <= 20:  # more colours cannot be told apart
        figure.legend(
            handles=[
                Line2D([], [], color=colour, linewidth=1.5, label=f"fold {number}")
                for number, colour in enumerate(fold_colours(len(histories)))
            ],
            loc="outside center right",
            ncols=math.ceil(len(histories) / 16),
            frameon=False,
            fontsize="small",
        )
    return figure


def shortcut_report(report: ShortcutReport) -> Figure:
    """Draw a shortcut report: who tells the classes, and what each test measured.

    Parameters
    ----------
    report : ShortcutReport
        What :func:`detl.shortcuts.examine` or one of its tests returned.

    Returns
    -------
    matplotlib.figure.Figure
        On the left the ROC AUC of the network and of all that it is held against; then the figure
        of each test and class with its interval, tests of one measure together. The line is the
        threshold; red is beyond it, blue on its other side, grey neither.

    Raises
    ------
    ImportError
        If matplotlib, an extra, is not installed.
    TypeError
        If ``report`` is none.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    if not isinstance(report, ShortcutReport):
        raise TypeError(
            f"report is {type(report).__name__}; expected a ShortcutReport, as "
            "detl.shortcuts.examine returns it."
        )
    panels: dict[str, list[tuple[str, ShortcutTest]]] = {}
    for name, test in report.tests.items():
        if test.threshold is not None:
            panels.setdefault(test.measure, []).append((name, test))
    rows = {
        measure: [row for name, test in found for row in _rows_of_test(name, test)]
        for measure, found in panels.items()
    }
    # Beside the largest panel the others find room above each other.
    names = list(panels)
    columns = [[name] for name in names] if len(names) < 3 else [names[:1], names[1:]]
    heights = [sum(len(rows[name]) for name in column) + 3 * len(column) for column in columns]
    figure = Figure(
        figsize=(4.8 * (1 + len(columns)), 0.6 + 0.2 * max(len(report.results) + 3, *heights, 11)),
        layout="constrained",
    )
    grid = figure.add_gridspec(1, 1 + len(columns))
    axis = figure.add_subplot(grid[0])
    areas = {name: result.scores["roc_auc"] for name, result in report.results.items()}
    draw_intervals(
        axis,
        [(name, (a.mean, a.interval.low, a.interval.high), "black") for name, a in areas.items()],
    )
    axis.axvline(0.5, color="grey", linestyle=":", linewidth=1)
    axis.set_xlabel("ROC AUC, mean over classes")
    for place, column in enumerate(columns, start=1):
        cells = grid[place].subgridspec(
            len(column), 1, height_ratios=[len(rows[name]) for name in column]
        )
        for line, measure in enumerate(column):
            axis = figure.add_subplot(cells[line])
            draw_intervals(axis, rows[measure])
            for threshold in {float(test.threshold or 0) for _, test in panels[measure]}:
                axis.axvline(threshold, color="tab:red", linestyle="--", linewidth=1)
            axis.set_xlabel(textwrap.fill(measure, _LABEL_WIDTH), loc="right")
    return figure


# ---------------------------------------------------------------------------- parts of pictures


def _rows_of_test(name: str, test: ShortcutTest) -> list[Any]:
    """Return a heading with the verdict, and a row for each class."""
    beyond, other = ("above", "below") if test.suspicious == "above" else ("below", "above")
    colours = {beyond: "tab:red", other: "tab:blue", "unknown": "grey"}
    rows: list[Any] = [(f"{name}: {test.verdict}", None, "black")]
    for label, figure in test.figures.items():
        side = figure.lies(test.threshold or 0)
        rows.append((str(label), (figure.value, figure.low, figure.high), colours[side]))
    return rows


def _draw_roc(axis: Axes, curve: scoring.RocCurve, area: scoring.Score) -> None:
    known = curve.folds[~np.isnan(curve.folds).any(axis=1)]
    if len(known) == 0:
        text = "no fold tests both images\nof this class and others"
        axis.text(0.5, 0.5, text, ha="center", va="center", backgroundcolor="white")
        return
    # Curves begin at the origin, which averages at a rate of 0 do not show.
    x = np.r_[0, curve.false_positive_rate]
    axis.fill_between(
        curve.false_positive_rate, curve.low, curve.high, color="tab:blue", alpha=0.2, linewidth=0
    )
    for fold in known:
        axis.plot(x, np.r_[0, fold], color="tab:blue", alpha=0.5, linewidth=0.6)
    left_out = f" of {len(curve.folds)}" if curve.n_missing else ""
    label = f"mean of {len(known)}{left_out} folds\nAUC {_with_interval(area)}"
    axis.plot(x, np.r_[0, curve.mean], color="tab:blue", linewidth=2, label=label)
    axis.legend(loc="lower right", fontsize="small", frameon=False)


def _with_interval(score: scoring.Score) -> str:
    return f"{score.mean:.3f} ({score.interval.low:.3f} to {score.interval.high:.3f})"


def _draw_training(axis: Axes, history: History, name: str) -> None:
    draw_course(axis, history[name], color="tab:blue", linewidth=2, label="training")
    if f"val_{name}" in history:
        course = history[f"val_{name}"]
        draw_course(axis, course, color="tab:orange", linewidth=2, label="validation")


def _draw_folds(axis: Axes, histories: Sequence[History], name: str) -> None:
    """Draw the folds, and their mean over the epochs that all have."""
    colours = fold_colours(len(histories))
    for key, label, dash in ((name, "training", "-"), (f"val_{name}", "validation", "--")):
        for history, colour in zip(histories, colours):
            if key in history:
                draw_course(axis, history[key], color=colour, linestyle=dash, linewidth=0.9)
        courses = [history[key] for history in histories if key in history]
        if courses:
            mean = np.mean([course[: min(map(len, courses))] for course in courses], axis=0)
            label = f"{label}, mean of {len(courses)}"
            draw_course(axis, mean, color="black", linestyle=dash, linewidth=2, label=label)


# --------------------------------------------------------------------------------------- checks


def _check_pictures(images: Any, heatmaps: Any) -> tuple[Array, Array]:
    images = _check_channels(check_images(images))
    heatmaps = np.asarray(heatmaps)
    if heatmaps.shape != images.shape[:3]:
        raise ValueError(
            f"heatmaps has shape {heatmaps.shape}, but the images {images.shape}; expected one "
            f"heatmap per image, {images.shape[:3]}."
        )
    if not (0 <= heatmaps.min() and heatmaps.max() <= 1):  # also refuses NaN
        raise ValueError(
            f"heatmaps are in [{heatmaps.min():.3g}, {heatmaps.max():.3g}]; expected [0, 1], as "
            "GradCAM gives them (not Explanation.raw)."
        )
    return images, heatmaps


def _check_channels(images: Array) -> Array:
    if images.shape[-1] not in (1, 3):
        raise ValueError(
            f"images has shape {images.shape}; expected 1 (grey) or 3 channels in the last axis."
        )
    return images


def _captions(
    n: int, *, labels: Array | None, predicted: Any, scores: Any, titles: Any
) -> list[str]:
    """Return what stands over each image: titles, then what it was taken for, and its score."""
    lines: list[list[str]] = [[] for _ in range(n)]
    if titles is not None:
        for words, title in zip(lines, check_labels(titles, n, name="titles")):
            words.append(f"{title}\n")
    if predicted is not None:
        predicted = check_labels(predicted, n, name="predicted")
        right = [""] * n if labels is None else np.where(labels == predicted, "✓ ", "✗ ")
        for words, mark, name in zip(lines, right, predicted):
            words.append(f"{mark}{name} ")
    if scores is not None:
        scores = np.asarray(scores)
        if scores.shape != (n,) or scores.dtype.kind not in "uif":
            raise ValueError(
                f"scores has shape {scores.shape} and dtype {scores.dtype}; expected one number "
                f"per image, ({n},)."
            )
        for words, score in zip(lines, scores):
            words.append(f"{score:.2f}")
    return ["".join(words).strip() for words in lines]


def _check_boxes(boxes: Any, n: int) -> list[Array]:
    """Return the boxes of each image, ``(k, 4)``."""
    boxes = boxes.to_numpy() if hasattr(boxes, "to_numpy") else boxes  # frames iterate over columns
    if len(boxes) != n:
        raise ValueError(f"boxes has {len(boxes)} rows for {n} images; expected one per image.")
    found = []
    for row, of_image in enumerate(boxes):
        array = np.asarray(of_image, dtype=float)
        array = array.reshape(-1, 4) if array.size in (0, 4) else array
        if array.ndim != 2 or array.shape[1] != 4 or not (array[:, 2:] > 0).all():
            raise ValueError(
                f"boxes has {of_image!r} in row {row}; expected (x, y, width, height), in pixels "
                "and with an area, or several of them."
            )
        found.append(array)
    return found


def _check_result(result: Any) -> None:
    if not hasattr(result, "fold_predictions"):
        raise TypeError(
            f"result is {type(result).__name__}; expected a CrossValidationResult, as "
            "detl.cross_validate returns it."
        )


def _rows_of_images(images: Any, rows: Array, n: int) -> Array:
    """Return and check these images alone: a memory map is not read whole."""
    if not isinstance(images, np.ndarray):
        images = check_images(images)
    if len(images) != n:
        raise ValueError(
            f"{len(images)} images for a result of {n}; give those that were cross-validated."
        )
    return check_images(images[rows])


def _check_share(alpha: Any) -> None:
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha!r}; expected a share in [0, 1].")


def _check_masks(masks: Any, shape: tuple[int, ...]) -> Array:
    masks = np.asarray(masks)
    if masks.shape != shape:
        raise ValueError(f"masks has shape {masks.shape}; expected one per image, {shape}.")
    if not np.isin(masks, (0, 1)).all():
        raise ValueError("masks has other values than 0 and 1; expected True inside the region.")
    return masks.astype(float)


def _check_matrix(matrix: Any) -> Array:
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(
            f"The confusion matrix has shape {counts.shape}; expected (n_classes, n_classes), or a "
            "result that carries one."
        )
    if counts.dtype.kind not in "uif" or not (counts >= 0).all():
        raise ValueError("The confusion matrix has entries that are no counts; expected 0 or more.")
    return counts


def _histories(history: Any) -> list[History]:
    """Return the histories that were given, or that what was given carries."""
    for name in ("histories", "history", "history_"):
        history = getattr(history, name, history)
    histories = [history] if isinstance(history, Mapping) else history
    if not isinstance(histories, Sequence) or isinstance(histories, str) or not histories:
        raise TypeError(
            f"history is {type(history).__name__}; expected a dict of lists, several of "
            "them, or a result that carries them (a transfer: after fit)."
        )
    if not any(histories):
        raise ValueError(
            "These folds have no histories: only what is trained epoch by epoch has one, and no "
            "average, rival or other classifier of scikit-learn."
        )
    for one in histories:
        if not isinstance(one, Mapping) or not one.get("loss"):
            known = list(one) if isinstance(one, Mapping) else type(one).__name__
            raise ValueError(f"A history has no 'loss', but {known}; expected one entry per epoch.")
    return list(histories)
