"""Learning curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detl.plots.drawing import Array, new_figure, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History: TypeAlias = Mapping[str, Sequence[float]]


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
    """
    require_matplotlib()
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    histories = _histories(history)
    names = [name for name in ("loss", "accuracy") if name in histories[0]]
    figure = new_figure(4.8 * len(names), 3.6)
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
                for number, colour in enumerate(_fold_colours(len(histories)))
            ],
            loc="outside center right",
            ncols=math.ceil(len(histories) / 16),
            frameon=False,
            fontsize="small",
        )
    return figure


def _draw_training(axis: Axes, history: History, name: str) -> None:
    _draw_course(axis, history[name], color="tab:blue", linewidth=2, label="training")
    if f"val_{name}" in history:
        course = history[f"val_{name}"]
        _draw_course(axis, course, color="tab:orange", linewidth=2, label="validation")


def _draw_folds(axis: Axes, histories: Sequence[History], name: str) -> None:
    """Draw the folds, and their mean over the epochs that all have."""
    colours = _fold_colours(len(histories))
    for key, label, dash in ((name, "training", "-"), (f"val_{name}", "validation", "--")):
        for history, colour in zip(histories, colours):
            if key in history:
                _draw_course(axis, history[key], color=colour, linestyle=dash, linewidth=0.9)
        courses = [history[key] for history in histories if key in history]
        if courses:
            mean = np.mean([course[: min(map(len, courses))] for course in courses], axis=0)
            label = f"{label}, mean of {len(courses)}"
            _draw_course(axis, mean, color="black", linestyle=dash, linewidth=2, label=label)


def _draw_course(axis: Axes, course: Sequence[float] | Array, **style: Any) -> None:
    """Draw one value per epoch, from epoch 1."""
    marker = "o" if len(course) == 1 else None  # one point makes no line
    axis.plot(range(1, len(course) + 1), course, marker=marker, **style)


def _fold_colours(n_folds: int) -> list[tuple[float, ...]]:
    """Return a colour for each fold, as distinct as their number allows."""
    import matplotlib

    if n_folds > 20:
        colours = matplotlib.colormaps["turbo"](np.linspace(0, 1, n_folds))
    else:
        colours = matplotlib.colormaps["tab10" if n_folds <= 10 else "tab20"](range(n_folds))
    return [tuple(colour) for colour in colours]


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
