"""Learning curves: loss and accuracy over the epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detl.checks import check_choice
from detl.plots.drawing import Array, chart, checked_size, new_figure, require_matplotlib
from detl.plots.theme import BLACK, MAIN, RIVAL, SMALL, colours, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History: TypeAlias = Mapping[str, Sequence[float]]


def learning_curves(
    history: Any,
    *,
    score: str | None = None,
    ax: Axes | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw loss and accuracy over the epochs, for training and, where known, validation.

    Parameters
    ----------
    history : dict, sequence of dict, or what has them
        ``loss`` and, where known, ``accuracy``, ``val_loss`` and ``val_accuracy``, one entry per
        epoch. Several histories, those of folds, are thin lines of different colours around their
        mean; a new figure names up to 20. A SourceModel, a fitted DomainExtensionTransfer, a
        CrossValidationResult and what Keras's ``fit`` returns carry theirs.
    score : {"loss", "accuracy"}, optional
        The one to draw. By default both, each in a panel; on axes of your own, the loss.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on. By default, those of a new figure.
    figsize : tuple of (float, float), optional
        Width and height of a new figure in inches; by default 4.8 × 3.6 for each panel.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of ``ax``.

    Examples
    --------
    >>> from detl import plots
    >>> figure = plots.learning_curves({"loss": [1.2, 0.8], "val_loss": [1.3, 1.1]})
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['training', 'validation']
    """
    require_matplotlib()
    histories = _histories(history)
    names = [name for name in ("loss", "accuracy") if name in histories[0]]
    if score is not None or ax is not None:
        wanted = "loss" if score is None else score
        check_choice("score", wanted, names)
        names = [wanted]
    if ax is not None:
        figure, axis = chart(ax, figsize, (4.8, 3.6))
        axes = [axis]
    else:
        figure = new_figure(*checked_size(figsize, (4.8 * len(names), 3.6)))
        axes = list(figure.subplots(1, len(names), squeeze=False)[0])
    for axis, name in zip(axes, names, strict=True):
        _draw_panel(axis, histories, name)
    if ax is None and 1 < len(histories) <= 20:  # more colours cannot be told apart
        _name_folds(figure, len(histories))
    return figure


def _draw_panel(axis: Axes, histories: Sequence[History], name: str) -> None:
    from matplotlib.ticker import MaxNLocator

    if len(histories) == 1:
        _draw_training(axis, histories[0], name)
    else:
        _draw_folds(axis, histories, name)
    axis.set_xlabel("epoch")
    axis.set_ylabel(name)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    finish(axis)
    axis.legend(frameon=False, fontsize=SMALL)


def _name_folds(figure: Figure, n_folds: int) -> None:
    """Name the folds' colours, beside the panels."""
    from matplotlib.lines import Line2D

    figure.legend(
        handles=[
            Line2D([], [], color=colour, linewidth=1.5, label=f"fold {number}")
            for number, colour in enumerate(colours(n_folds))
        ],
        loc="outside center right",
        ncols=math.ceil(n_folds / 16),
        frameon=False,
        fontsize=SMALL,
    )


def _draw_training(axis: Axes, history: History, name: str) -> None:
    _draw_course(axis, history[name], color=MAIN, linewidth=2, label="training")
    if f"val_{name}" in history:
        course = history[f"val_{name}"]
        _draw_course(axis, course, color=RIVAL, linewidth=2, label="validation")


def _draw_folds(axis: Axes, histories: Sequence[History], name: str) -> None:
    """Draw the folds, and their mean over the epochs that all have."""
    of_folds = colours(len(histories))
    for key, label, dash in ((name, "training", "-"), (f"val_{name}", "validation", "--")):
        for history, colour in zip(histories, of_folds):
            if key in history:
                _draw_course(axis, history[key], color=colour, linestyle=dash, linewidth=0.9)
        courses = [history[key] for history in histories if key in history]
        if courses:
            mean = np.mean([course[: min(map(len, courses))] for course in courses], axis=0)
            label = f"{label}, mean of {len(courses)}"
            _draw_course(axis, mean, color=BLACK, linestyle=dash, linewidth=2, label=label)


def _draw_course(axis: Axes, course: Sequence[float] | Array, **style: Any) -> None:
    """Draw one value per epoch, from epoch 1."""
    marker = "o" if len(course) == 1 else None  # one point makes no line
    axis.plot(range(1, len(course) + 1), course, marker=marker, **style)


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
            "average, baseline or other classifier of scikit-learn."
        )
    for one in histories:
        if not isinstance(one, Mapping) or not one.get("loss"):
            known = list(one) if isinstance(one, Mapping) else type(one).__name__
            raise ValueError(f"A history has no 'loss', but {known}; expected one entry per epoch.")
    return list(histories)
