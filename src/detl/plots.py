"""Pictures from results and heatmaps.

Figures are matplotlib's own objects, made without its global state: save them with
``figure.savefig("name.png")``. They need no screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detl._checks import check_count, check_images, check_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
History: TypeAlias = Mapping[str, Sequence[float]]

_SIDE = 1.6  # of an image in a grid, inches
_TRAINING, _VALIDATION = "tab:blue", "tab:orange"


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
    _require_matplotlib()
    images, heatmaps = _check_pictures(images, heatmaps)
    _check_share(alpha)
    return _blend(_colours(images), heatmaps, alpha, _colormap(colormap))


def heatmap_grid(
    images: Any,
    heatmaps: Any,
    *,
    row_labels: Any = None,
    titles: Any = None,
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
    row_labels : array-like of shape (n,), optional
        Class of each image. Images of one class share a row (or several, where they are more than
        ``columns``), in the order in which the classes first occur, and the row says which.
    titles : array-like of str, shape (n,), optional
        What to write over each image, such as the predicted class and its score.
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
    _require_matplotlib()
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    images, heatmaps = _check_pictures(images, heatmaps)
    _check_share(alpha)
    check_count("columns", columns)
    cmap = _colormap(colormap)
    if titles is not None:
        titles = check_labels(titles, len(images), name="titles")
    if row_labels is not None:
        row_labels = check_labels(row_labels, len(images), name="row_labels")
    if masks is not None:
        masks = _check_masks(masks, heatmaps.shape)

    plain = _colours(images)
    blended = _blend(plain, heatmaps, alpha, cmap)
    rows = _rows(len(images), row_labels, columns)
    names = [""] * len(rows) if row_labels is None else [str(row_labels[row[0]]) for row in rows]
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
                if masks is not None and masks[index].any():
                    _outline(axis, masks[index])
            if not heatmaps[index].any():
                pair[1].set_title("blank", fontsize="small", loc="right")
            if titles is not None:
                pair[0].set_title(str(titles[index]), fontsize="small", loc="left")
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
    _require_matplotlib()
    from matplotlib.figure import Figure

    matrix = _check_matrix(getattr(matrix_or_result, "confusion_matrix", matrix_or_result))
    if class_names is None:
        class_names = getattr(matrix_or_result, "classes", range(len(matrix)))
    names = list(map(str, check_labels(class_names, len(matrix), name="class_names", of="rows")))

    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.where(totals > 0, totals, 1)
    side = 1.6 + 1.05 * len(matrix)
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axis = figure.subplots()
    shown = axis.imshow(shares if normalize else matrix, cmap="Blues", vmin=0)
    shown.set_clim(vmax=1 if normalize else max(1, matrix.max()))
    for (i, j), count in np.ndenumerate(matrix):
        share = f"{100 * shares[i, j]:.1f} %" if totals[i] else "no images"
        colour = _readable_on(shown.cmap(shown.norm(shares[i, j] if normalize else count)))
        axis.text(j, i, f"{count:.10g}\n{share}", ha="center", va="center", color=colour)
    axis.set_xticks(range(len(names)), names)
    if max(map(len, names)) > 10:  # longer than a cell is wide
        axis.tick_params("x", labelrotation=30)
        for label in axis.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    axis.spines[:].set_visible(False)
    quantity = "share of the true class" if normalize else "images"
    figure.colorbar(shown, ax=axis, label=quantity, fraction=0.05)
    return figure


def learning_curves(history: Any) -> Figure:
    """Draw loss and accuracy over the epochs, for training and, where known, validation.

    Parameters
    ----------
    history : dict, sequence of dict, or what has them
        ``loss`` and, where known, ``accuracy``, ``val_loss`` and ``val_accuracy``, one entry per
        epoch. Several histories, those of folds, are thin lines around their mean. A SourceModel,
        a fitted DomainExtensionTransfer, a CrossValidationResult and what Keras's ``fit`` returns
        carry theirs.

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
    _require_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    histories = _histories(history)
    metrics = [name for name in ("loss", "accuracy") if name in histories[0]]
    figure = Figure(figsize=(4.8 * len(metrics), 3.6), layout="constrained")
    for axis, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics):
        for key, label, colour in (
            (metric, "training", _TRAINING),
            (f"val_{metric}", "validation", _VALIDATION),
        ):
            _draw_curves(axis, [h[key] for h in histories if key in h], label, colour)
        axis.set_xlabel("epoch")
        axis.set_ylabel(metric)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    return figure


# -------------------------------------------------------------------------------------- drawing


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "detl.plots draws with matplotlib, which is an extra: run "
            "`pip install '.[plots]'` in the folder of detl, or `pip install matplotlib`."
        ) from error


def _colormap(name: str) -> Any:
    import matplotlib

    if name not in matplotlib.colormaps:
        raise ValueError(
            f"colormap={name!r} is unknown to matplotlib; use 'inferno' or 'viridis' (perceptually "
            "uniform), 'jet' (the look of the paper), or another of matplotlib.colormaps."
        )
    return matplotlib.colormaps[name]


def _colours(images: Array) -> Array:
    """Return the images in red, green and blue, uint8."""
    return np.repeat(images.round().clip(0, 255).astype("uint8"), 3 // images.shape[-1], axis=-1)


def _blend(plain: Array, heatmaps: Array, alpha: float, cmap: Any) -> Array:
    blended = np.empty_like(plain)
    for picture, image, heatmap in zip(blended, plain, heatmaps, strict=True):
        colours = 255 * cmap(heatmap.astype(float))[..., :3]
        picture[...] = ((1 - alpha) * image + alpha * colours).round()
    return blended


def _rows(n: int, row_labels: Array | None, columns: int) -> list[Array]:
    """Return the indices of the images in each row of a grid."""
    if row_labels is None:
        groups = [np.arange(n)]
    else:
        names = dict.fromkeys(row_labels.tolist())
        groups = [np.flatnonzero(row_labels == name) for name in names]
    return [
        group[start : start + columns]
        for group in groups
        for start in range(0, len(group), columns)
    ]


def _outline(axis: Axes, mask: Array) -> None:
    # White on a dark line: visible on every colour.
    for colour, width in (("black", 2.2), ("white", 1.0)):
        axis.contour(mask, levels=[0.5], colors=colour, linewidths=width)


def _readable_on(colour: Any) -> str:
    red, green, blue, _ = colour
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"


def _draw_curves(axis: Axes, curves: Sequence[Sequence[float]], label: str, colour: str) -> None:
    """Draw one curve, or several thin ones and their mean over the epochs that all have."""
    if not curves:
        return
    mean = np.mean([curve[: min(map(len, curves))] for curve in curves], axis=0)
    marker = "o" if len(mean) == 1 else None  # one point makes no line

    def draw(curve: Sequence[float] | Array, **style: Any) -> None:
        axis.plot(range(1, len(curve) + 1), curve, color=colour, marker=marker, **style)

    if len(curves) > 1:
        label = f"{label}, mean of {len(curves)}"
        for curve in curves:
            draw(curve, alpha=0.35, linewidth=0.8)
    draw(mean, linewidth=2, label=label)


# --------------------------------------------------------------------------------------- checks


def _check_pictures(images: Any, heatmaps: Any) -> tuple[Array, Array]:
    images = check_images(images)
    if images.shape[-1] not in (1, 3):
        raise ValueError(
            f"images has shape {images.shape}; expected 1 (grey) or 3 channels in the last axis."
        )
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
    for one in histories:
        if not isinstance(one, Mapping) or not one.get("loss"):
            known = list(one) if isinstance(one, Mapping) else type(one).__name__
            raise ValueError(f"A history has no 'loss', but {known}; expected one entry per epoch.")
    return list(histories)
