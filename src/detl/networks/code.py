"""Tell the code of functions and classes apart: a digest that changes when a line of it does.

A name does not: whoever edits a layer in a notebook and runs the cell again has another one of the
same name.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import json
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

# Known by name: nobody edits them between two runs, and their versions are on record.
_LIBRARIES = frozenset(
    {"detl", "keras", "tensorflow", "torch", "jax", "jaxlib", "numpy", "scipy", "sklearn"}
)
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))


def code_digest(thing: Any) -> str:
    """Return a SHA-256 digest of the code of a function, a class, or an object that is called.

    What counts is bytecode, constants, defaults, what is enclosed or global, as far as it is plain,
    and the functions and classes that it uses, unless they are of an installed package. Names of
    files, lines and addresses do not, so that it is the same in every process.
    """
    description = _Description()
    if isinstance(thing, type) and not is_library(thing):
        record = description.of_class(thing)
    elif isinstance(thing, FunctionType) and not is_library(thing):
        record = description.of_function(thing)
    else:
        record = description.of(thing)
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()


def is_library(thing: Any) -> bool:
    """Whether a function, a class or an object's class is of Python, Keras, detl and their kind."""
    while (inner := _inner(thing)) is not None:
        thing = inner
    if not _has_name(thing):
        thing = type(thing)
    root = _module_of(thing).partition(".")[0]
    return root in _LIBRARIES or root in sys.stdlib_module_names


class _Description:
    """Describe what belongs to a digest in JSON's terms, each part once."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, Any]] = {}  # kept, so that no other has its address

    def of(self, thing: Any) -> Any:
        """Describe a value; a function or class of an installed package by its name."""
        if isinstance(thing, np.generic):
            thing = thing.item()
        if isinstance(thing, _PLAIN):
            return [type(thing).__name__, repr(thing)]
        if id(thing) in self._seen:
            return ["again", self._seen[id(thing)][0]]
        self._seen[id(thing)] = len(self._seen), thing
        if isinstance(thing, np.ndarray):
            return self._of_array(thing)
        if isinstance(thing, tuple | list):
            return [type(thing).__name__, [self.of(part) for part in thing]]
        if isinstance(thing, set | frozenset):
            return [type(thing).__name__, sorted(json.dumps(self.of(part)) for part in thing)]
        if isinstance(thing, dict):
            return ["dict", [[self.of(key), self.of(value)] for key, value in thing.items()]]
        if isinstance(thing, CodeType):
            return self._of_code(thing)
        if isinstance(thing, ModuleType):
            return ["module", thing.__name__]
        if _inner(thing) is not None:
            return self._of_wrapper(thing)
        if _has_name(thing) and (
            _is_installed(thing) or not isinstance(thing, FunctionType | type)
        ):
            return ["name", f"{_module_of(thing)}.{thing.__qualname__}"]
        if isinstance(thing, type):
            return self.of_class(thing)
        if isinstance(thing, FunctionType):
            return self.of_function(thing)
        return self._of_object(thing)

    def of_function(self, function: FunctionType) -> Any:
        """Describe a function by its code and all that it reads."""
        self._seen.setdefault(id(function), (len(self._seen), function))
        cells = [self._of_cell(cell) for cell in function.__closure__ or ()]
        defaults = [self.of(function.__defaults__), self.of(function.__kwdefaults__)]
        code = self._of_code(function.__code__)
        return ["function", code, defaults, cells, list(self._of_globals(function))]

    def of_class(self, kind: type) -> Any:
        """Describe a class, and those that it is derived from but for a library's."""
        self._seen.setdefault(id(kind), (len(self._seen), kind))
        found = []
        for part in kind.__mro__:
            if is_library(part):
                continue
            for name, value in sorted(vars(part).items()):
                if isinstance(value, FunctionType):
                    found.append([name, self.of_function(value)])
                elif isinstance(value, property | staticmethod | classmethod):
                    found.append([name, self._of_wrapper(value)])
                elif not name.startswith("__"):  # the docstring, the module and the like
                    found.append([name, self.of(value)])
        return ["class", found]

    def _of_wrapper(self, thing: Any) -> Any:
        """Describe what makes another function of a function."""
        if isinstance(thing, property):
            functions = [thing.fget, thing.fset, thing.fdel]
            return ["property", [self._of_own(function) for function in functions]]
        if isinstance(thing, functools.partial):
            return ["partial", self.of([thing.func, thing.args, thing.keywords])]
        if isinstance(thing, MethodType):
            return ["method", self.of([thing.__func__, thing.__self__])]
        return [type(thing).__name__, self._of_own(_inner(thing))]

    def _of_own(self, thing: Any) -> Any:
        """Describe a function that is a part of what is described, wherever it comes from."""
        return self.of_function(thing) if isinstance(thing, FunctionType) else self.of(thing)

    def _of_object(self, thing: Any) -> Any:
        kind = type(thing)
        # What Keras keeps in a layer differs from one to the next of the same configuration.
        foreign = any(_is_installed(part) for part in kind.__mro__ if part is not object)
        state = None if foreign else getattr(thing, "__dict__", None)  # slots have none
        return ["object", self.of(kind), self.of(state)]

    def _of_array(self, array: np.ndarray) -> Any:
        if array.dtype == object:
            return ["array", self.of(array.tolist())]
        digest = hashlib.sha256()
        rows = np.atleast_1d(array)
        for start in range(0, len(rows), 256):  # a memory map is never read whole
            digest.update(rows[start : start + 256].tobytes())
        return ["array", str(array.dtype), list(array.shape), digest.hexdigest()]

    def _of_cell(self, cell: Any) -> Any:
        try:
            return self.of(cell.cell_contents)
        except ValueError:  # a name that nothing was given to yet
            return "empty"

    def _of_code(self, code: CodeType) -> Any:
        arguments = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount]
        names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
        return [
            code.co_code.hex(),
            [*arguments, code.co_flags],
            [list(some) for some in names],
            [self.of(constant) for constant in code.co_consts],
        ]

    def _of_globals(self, function: FunctionType) -> Iterator[Any]:
        """Describe the globals that a function reads."""
        names, attributes = _names_read(function.__code__)
        for name in sorted(names & function.__globals__.keys()):
            value = function.__globals__[name]
            yield [name, self.of(value)]
            if isinstance(value, ModuleType) and not _is_installed_module(value.__name__):
                for attribute in sorted(attributes & vars(value).keys()):
                    yield [f"{name}.{attribute}", self.of(vars(value)[attribute])]


def _names_read(code: CodeType) -> tuple[set[str], set[str]]:
    """Return the names of globals in the code, nested functions included, and all other names."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname in _READ_GLOBAL}
    attributes = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            more_names, more_attributes = _names_read(constant)
            names |= more_names
            attributes |= more_attributes
    return names, attributes


_READ_GLOBAL = frozenset(
    name for name in dis.opmap if name.startswith("LOAD_") and ("GLOBAL" in name or "NAME" in name)
)


def _inner(thing: Any) -> Any:
    """Return what a partial, a method or a cached function calls; None for what is no wrapper."""
    if isinstance(thing, functools.partial):
        return thing.func
    if isinstance(thing, MethodType | staticmethod | classmethod):
        return thing.__func__
    if isinstance(thing, functools.cached_property):
        return thing.func
    if isinstance(thing, functools._lru_cache_wrapper):
        return thing.__wrapped__
    return None


# A lambda that Keras has read from a file claims to be Keras's own.
_LAMBDA_FROM_FILE = ("keras.src.utils.python_utils", "<lambda>")


def _has_name(thing: Any) -> bool:
    return isinstance(getattr(thing, "__qualname__", None), str)


def _module_of(thing: Any) -> str:
    """Return the module of a function or class; built-in ones of an object may have none."""
    if _has_name(thing) and (thing.__module__, thing.__name__) == _LAMBDA_FROM_FILE:
        return ""
    return str(getattr(thing, "__module__", None) or "builtins")


def _is_installed(thing: Any) -> bool:
    return _is_installed_module(_module_of(thing))


def _is_installed_module(name: str) -> bool:
    root = name.partition(".")[0]
    if root in _LIBRARIES or root in sys.stdlib_module_names:
        return True
    if name == "__main__":  # in a notebook its file is that of an installed launcher
        return False
    path = getattr(sys.modules.get(name), "__file__", None) or ""
    return "site-packages" in path or "dist-packages" in path
