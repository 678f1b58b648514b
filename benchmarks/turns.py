"""Let recipes take turns: each a process of its own, training one epoch when it is its turn.

So every recipe is in the middle of one long fit, nothing of one is in the memory of another, and
what disturbs the machine for a while disturbs neighbours alike: ratios are taken of neighbours.
A turn is two epochs, of which the second is timed: a virtual machine may have lost the memory of a
process that waited, and pays to have it back.
"""

from __future__ import annotations

import itertools
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

FOREVER = 10**6  # epochs: a recipe is ended from outside

OnEpoch = Callable[[], None]  # called after every epoch; returns when the next is to begin
Recipe = Callable[[OnEpoch], None] | partial[None]  # trains forever


def take_turns(recipes: Mapping[str, Recipe], rounds: int) -> dict[str, np.ndarray]:
    """Return the seconds of one epoch of each recipe, ``(rounds,)``.

    An epoch before them, in which networks are compiled, is not timed, nor the first of a turn.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name, recipe in recipes.items():
        pipes[name], there = context.Pipe()
        processes.append(context.Process(target=_serve, args=(recipe, there)))
        processes[-1].start()
        there.close()  # so that a process that dies is noticed
        pipes[name].recv()
    seconds: dict[str, list[float]] = {name: [] for name in recipes}
    for _ in range(rounds):
        for name, pipe in pipes.items():
            pipe.send(True)
            seconds[name].append(pipe.recv())
            print(f"{name}: {seconds[name][-1]:.2f} s", flush=True)
    for pipe, process in zip(pipes.values(), processes):
        pipe.send(False)
        process.join()
    return {name: np.array(times) for name, times in seconds.items()}


def _serve(recipe: Recipe, pipe: Any) -> None:
    """Train two epochs whenever asked, and say how long the second took."""
    started = 0.0
    epochs = itertools.count()

    def on_epoch() -> None:
        nonlocal started
        seconds = time.perf_counter() - started
        epoch = next(epochs)
        if epoch % 2 == 0:  # the turn is over, or everything is compiled
            pipe.send(seconds if epoch else None)
            if not pipe.recv():
                sys.exit()
        started = time.perf_counter()

    recipe(on_epoch)
