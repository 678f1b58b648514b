"""Deal groups out to parts that all have every class, where shuffles have not come upon a way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import LinearConstraint, milp

_NODES = 2000  # of the search; a few hundred groups are searched to the end


def deal(
    targets: np.ndarray,
    groups: np.ndarray,
    shares: Sequence[float],
    generator: np.random.Generator,
) -> np.ndarray | None:
    """Return the part of each image, or None if no way was found.

    First each part is given the fewest groups that hold all classes, then the others go, the
    largest first, where most of their images are still wanted: ``shares`` of each class.
    """
    names, group = np.unique(groups, return_inverse=True)
    images = np.zeros((len(names), targets.max() + 1))
    np.add.at(images, (group, targets), 1)
    # Groups that have the same classes can stand in for each other.
    kinds, kind = np.unique(images > 0, axis=0, return_inverse=True)
    needed = _fewest_of_each_kind(kinds, np.bincount(kind), len(shares))
    if needed is None:
        return None
    part_of = np.full(len(names), -1)
    for number, counts in enumerate(needed):
        members = generator.permutation(np.flatnonzero(kind == number))
        part_of[members[: counts.sum()]] = np.repeat(np.arange(len(shares)), counts)
    wanted = np.outer(shares, images.sum(axis=0))
    for part in range(len(shares)):
        wanted[part] -= images[part_of == part].sum(axis=0)
    others = generator.permutation(np.flatnonzero(part_of < 0))
    for name in others[np.argsort(-images[others].sum(axis=1), kind="stable")]:
        part_of[name] = np.argmax(wanted @ images[name])
        wanted[part_of[name]] -= images[name]
    return part_of[group]


def _fewest_of_each_kind(kinds: np.ndarray, counts: np.ndarray, n_parts: int) -> np.ndarray | None:
    """Return how many groups of each kind every part needs to have all classes, (kinds, parts).

    ``kinds`` are the classes of each kind, (kinds, classes), and ``counts`` its groups.
    """
    in_all = np.kron(np.eye(len(kinds)), np.ones(n_parts))
    of_class = np.kron(kinds.T, np.eye(n_parts))
    found = milp(
        np.ones(len(kinds) * n_parts),
        integrality=np.ones(len(kinds) * n_parts),
        constraints=[LinearConstraint(in_all, ub=counts), LinearConstraint(of_class, lb=1)],
        options={"node_limit": _NODES},
    )
    return None if found.x is None else np.rint(found.x).astype(int).reshape(-1, n_parts)
