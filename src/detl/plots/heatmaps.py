"""Heatmaps over their images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from detl.checks import (
    check_boxes,
    check_count,
    check_heatmaps,
    check_images,
    check_labels,
    check_number,
)
from detl.plots.drawing import (
    Array,
    as_colours,
    characters,
    checked_size,
    grid_of_pictures,
    require_matplotlib,
    width_of_pictures,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE, _SMALLEST, _LARGEST = 1.6, 0.35, 40.0  # of an image in a grid, and of the grid, inches
_FONT = 8  # points


def overlay(images: Any, heatmaps: Any, *, alpha: float = 0.7, colormap: str = "inferno") -> Array:
    """Lay heatmaps over their images.

    Parameters
    ----------
    images : array-like of shape (n, height, width, channels)
        Pixels in [0, 255]; 1 channel (grey) or 3.
    heatmaps : array-like of shape (n, height, width)
        In [0, 1], as :class:`detl.GradCAM` gives them.
    alpha : float, default=0.7
        Share of the colour where the heatmap is 1, in [0, 1]. Where it is lower, the share is so in
        proportion; where it is 0, the image is as it was.
    colormap : str, default="inferno"
        Name of a matplotlib colour map. The default is perceptually uniform: equal steps in the
        heatmap look equal. ``"jet"`` gives the look of the paper (Basu et al. 2020, Fig. 4: red is
        most attended), with steps that are not in the data.

    Returns
    -------
    numpy.ndarray of uint8, shape (n, height, width, 3)
        Red, green and blue, in [0, 255].

    Examples
    --------
    >>> import numpy as np
    >>> from detl import plots
    >>> grey = np.full((1, 1, 2, 1), 200, dtype="uint8")
    >>> plots.overlay(grey, [[[0, 1]]], alpha=0.5, colormap="gray").tolist()  # half of it white
    [[[[200, 200, 200], [228, 228, 228]]]]
    """
    *_, blended = _blend(images, heatmaps, alpha, colormap)
    return blended


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
    alpha: float = 0.7,
    colormap: str = "inferno",
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw every image beside its overlay.

    As in Fig. 4 of Basu et al. 2020.

    A heatmap of few cells, such as 2 × 2, is resized to the image and looks finer than it is: look
    at the shape of ``GradCAM(...).explain(images).raw``, or choose a lower layer.

    Parameters
    ----------
    images, heatmaps, alpha, colormap
        As for :func:`overlay`.
    labels : array-like of shape (n,), optional
        True class of each image. Images of one class stand together under its name, in the order
        in which the classes first occur. A class begins a row unless all of it fits into the last.
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
    figsize : tuple of (float, float), optional
        Width and height of the figure in inches, which the images are scaled to. By default each is
        1.6 inches wide, and less where there are many.

    Returns
    -------
    matplotlib.figure.Figure
        With a colour bar. A heatmap that is zero everywhere is marked as blank.

    Examples
    --------
    >>> import numpy as np
    >>> from detl import plots
    >>> images, heatmaps = np.zeros((2, 8, 8, 1), dtype="uint8"), np.ones((2, 8, 8))
    >>> figure = plots.heatmap_grid(images, heatmaps, labels=["covid", "covid"], scores=[0.9, 0.4])
    >>> [axes.get_title("left") for axes in figure.axes[::2]]
    ['0.90', '0.40', '']
    """
    plain, heatmaps, blended = _blend(images, heatmaps, alpha, colormap)
    from matplotlib.cm import ScalarMappable

    check_count("columns", columns)
    n, height, width = heatmaps.shape
    labels = None if labels is None else check_labels(labels, n, name="labels")
    captions = _captions(n, labels=labels, predicted=predicted, scores=scores, titles=titles)
    boxes = [()] * n if boxes is None else check_boxes(boxes)
    if len(boxes) != n:
        raise ValueError(f"boxes has {len(boxes)} rows for {n} images; expected one per image.")
    masks = None if masks is None else _check_masks(masks, heatmaps.shape)

    rows = _rows_of(n, labels, columns)
    columns = max(map(len, rows))
    shape, aspect = (len(rows), 2 * columns), height / width
    margins = {"left": 0.1 if labels is None else 0.4, "right": 0.9}
    size = None if figsize is None else checked_size(figsize, (0, 0))
    if size is None:
        # Many images are smaller, so that the picture has an end.
        across = ((_LARGEST - 1) / columns - margins["left"]) / 2 - 0.1
        side = max(_SMALLEST, min(_SIDE, across, (_LARGEST / len(rows) - 0.5) / aspect))
    else:
        side = width_of_pictures(size, shape, aspect=aspect, above=0, group=2, **margins)
    fits = characters(2 * side, _FONT)
    captions = ["\n".join(wrapped(line, fits) for line in c.split("\n")) for c in captions]
    above = 0.15 + 0.13 * max(caption.count("\n") + 1 for caption in captions)
    if size is not None:
        side = width_of_pictures(size, shape, aspect=aspect, above=above, group=2, **margins)
    picture = side, side * aspect
    figure, axes = grid_of_pictures(shape, picture, above=above, group=2, figsize=size, **margins)
    for row, row_of_axes in zip(rows, axes, strict=True):
        before = None
        for index, pair in zip(row, row_of_axes.reshape(-1, 2)):  # the last row may be short
            for axis, shown in zip(pair, (plain[index], blended[index]), strict=True):
                axis.imshow(shown)
                _draw_regions(axis, boxes[index], None if masks is None else masks[index])
            if not heatmaps[index].any():
                pair[1].set_title("blank", fontsize=_FONT, loc="right")
            pair[0].set_title(captions[index], fontsize=_FONT, loc="left", parse_math=False)
            if labels is not None and labels[index] != before:
                before = labels[index]
                name = wrapped(before, characters(picture[1], _FONT))
                # Axes that are off hide their labels; a text stays.
                beside = {"transform": pair[0].transAxes, "rotation": "vertical", "ha": "right"}
                style = {"va": "center", "fontsize": _FONT, "parse_math": False, **beside}
                pair[0].text(-0.04, 0.5, name, **style)
    total, tall = figure.get_size_inches()
    used = len(rows) * (picture[1] + above)  # of the figure's height
    box = (total - 0.75) / total, (tall - used + 0.04) / tall, 0.12 / total, (used - 0.2) / tall
    bar = figure.colorbar(ScalarMappable(cmap=colormap), cax=figure.add_axes(box))
    bar.ax.tick_params(labelsize=_FONT)
    bar.set_label("relative attention", fontsize=_FONT)
    return figure


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


def _blend(images: Any, heatmaps: Any, alpha: Any, colormap: str) -> tuple[Array, Array, Array]:
    """Return images in red, green and blue, the heatmaps, and these laid over the images."""
    require_matplotlib()
    import matplotlib

    images = check_images(images)
    heatmaps = check_heatmaps(heatmaps, images.shape[:3])
    check_number("alpha", alpha, at_least=0, at_most=1)
    if colormap not in matplotlib.colormaps:
        raise ValueError(
            f"colormap={colormap!r} is unknown to matplotlib; use 'inferno' or 'viridis' "
            "(perceptually uniform), 'jet' (the look of the paper), or another of "
            "matplotlib.colormaps."
        )
    plain = as_colours(images)
    blended = np.empty_like(plain)
    for picture, image, heatmap in zip(blended, plain, heatmaps, strict=True):
        colours = 255 * matplotlib.colormaps[colormap](heatmap.astype(float))[..., :3]
        share = alpha * heatmap[..., np.newaxis]  # where nothing is shown, nothing is tinted
        picture[...] = ((1 - share) * image + share * colours).round()
    return plain, heatmaps, blended


def _rows_of(n: int, labels: Array | None, columns: int) -> list[Array]:
    """Return the indices of the images in each row of a grid."""
    if labels is None:
        classes = [np.arange(n)]
    else:
        classes = [np.flatnonzero(labels == name) for name in dict.fromkeys(labels.tolist())]
    rows: list[Array] = []
    for rest in classes:
        if rows and len(rows[-1]) + len(rest) <= columns:
            rows[-1] = np.concatenate([rows[-1], rest])
        else:
            rows += [rest[start : start + columns] for start in range(0, len(rest), columns)]
    return rows


def _draw_regions(axis: Axes, boxes: Sequence[Any] | Array, mask: Array | None) -> None:
    """Draw boxes ``(x, y, width, height)`` and the border of a mask, white on a dark line."""
    from matplotlib.patches import Rectangle

    for colour, line in (("black", 2.2), ("white", 1.0)):
        for x, y, width, height in boxes:
            # The corner of the first pixel is half a pixel from its centre, which is at 0.
            corner = (x - 0.5, y - 0.5)
            axis.add_patch(Rectangle(corner, width, height, fill=False, ec=colour, lw=line))
        if mask is not None and mask.any():
            axis.contour(mask, levels=[0.5], colors=colour, linewidths=line)


def _check_masks(masks: Any, shape: tuple[int, ...]) -> Array:
    masks = np.asarray(masks)
    if masks.shape != shape:
        raise ValueError(f"masks has shape {masks.shape}; expected one per image, {shape}.")
    if not np.isin(masks, (0, 1)).all():
        raise ValueError("masks has other values than 0 and 1; expected True inside the region.")
    return masks.astype(float)
