"""Old public names keep working until detl 0.2; each warns and says the new name."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

from detl.caller import stacklevel_of_caller

P = ParamSpec("P")
R = TypeVar("R")


def renamed_arguments(**new_names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take keyword arguments by their old names, given as ``old="new"``."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        name = function.__qualname__.removesuffix(".__call__")

        @functools.wraps(function)
        def renamed(*args: P.args, **kwargs: P.kwargs) -> R:
            given = cast(dict[str, Any], kwargs)
            for old, new in new_names.items():
                if old not in given:
                    continue
                if new in given:
                    raise TypeError(
                        f"{name} got {new} and {old}, the old name of {new}; give {new} only."
                    )
                warn_renamed(f"{name}({old}=...)", f"{name}({new}=...)")
                given[new] = given.pop(old)
            return function(*args, **kwargs)

        return renamed

    return decorate


def renamed_names(module: str, new_names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` that gives what a module now offers under a new name."""

    def getattr_of_module(name: str) -> Any:
        if name not in new_names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        new = new_names[name]
        warn_renamed(f"{module}.{name}", f"{module}.{new}")
        return getattr(sys.modules[module], new)

    return getattr_of_module


def warn_renamed(old: str, new: str) -> None:
    """Warn the caller of an old name."""
    warnings.warn(
        f"{old} is now {new}; the old name works until detl 0.2.",
        FutureWarning,
        stacklevel=stacklevel_of_caller(),
    )
