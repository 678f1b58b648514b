"""Code is told apart by what it does, wherever it was written and whatever runs it."""

import functools
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

from detl.networks.code import code_digest, is_library


def defined(text, name="f", **names):
    """Return what a text defines, as a cell of a notebook would."""
    namespace = {"__name__": "__main__", "np": np, "keras": keras, "functools": functools, **names}
    exec(compile(text, "cell", "exec"), namespace)
    return namespace[name]


def digest_of(text, name="f", **names):
    return code_digest(defined(text, name, **names))


PLAIN = "def f(x, y=1):\n    return x * 2 + y\n"


def test_the_same_code_has_the_same_digest_on_other_lines_and_under_another_name():
    assert digest_of(PLAIN) == digest_of("\n\n# moved\n" + PLAIN)
    assert digest_of(PLAIN) == digest_of(PLAIN.replace("f(", "g("), "g")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PLAIN, PLAIN.replace("* 2", "* 3")),
        (PLAIN, PLAIN.replace("* 2", "- 2")),
        (PLAIN, PLAIN.replace("y=1", "y=2")),
        ("f = lambda x: np.exp(x)", "f = lambda x: np.log(x)"),
        ("f = lambda x: x.min()", "f = lambda x: x.max()"),
        ("f = lambda x, *, y=1: x + y", "f = lambda x, *, y=2: x + y"),
        ("f = lambda x: [y * 2 for y in x]", "f = lambda x: [y * 3 for y in x]"),
        ("s = 2\nf = lambda x: x * s", "s = 3\nf = lambda x: x * s"),
        ("s = [1, {'a': 2}]\nf = lambda x: x * s", "s = [1, {'a': 3}]\nf = lambda x: x * s"),
        ("g = lambda x: x\nf = lambda x: g(x)", "g = lambda x: -x\nf = lambda x: g(x)"),
        ("s = np.ones(3)\nf = lambda x: x * s", "s = np.zeros(3)\nf = lambda x: x * s"),
        ("f = functools.partial(pow, 2)", "f = functools.partial(pow, 3)"),
        (
            "f = functools.lru_cache(lambda x: x + 1)",
            "f = functools.lru_cache(lambda x: x + 2)",
        ),
        (
            "def made(s):\n    return lambda x: x * s\nf = made(2)",
            "def made(s):\n    return lambda x: x * s\nf = made(3)",
        ),
    ],
)
def test_whatever_a_function_depends_on_changes_its_digest(one, other):
    assert digest_of(one) == digest_of(one)
    assert digest_of(one) != digest_of(other)


KIND = """
class Base:
    factor = 2
    def helped(self, x):
        return x + 1
class f(Base):
    def __init__(self, s=1):
        self.s = s
    def __call__(self, x):
        return self.helped(x) * self.factor
    @property
    def size(self):
        return 5
    @staticmethod
    def fixed(x):
        return x - 7
"""


@pytest.mark.parametrize("edit", [("= 2", "= 3"), ("+ 1", "+ 2"), ("* self", "- self"), ("5", "6")])
def test_every_method_and_constant_of_a_class_and_its_bases_counts(edit):
    assert digest_of(KIND) == digest_of(KIND)
    assert digest_of(KIND) != digest_of(KIND.replace(*edit))
    assert digest_of(KIND) != digest_of(KIND.replace("- 7", "- 8"))


def test_an_object_counts_by_its_class_and_by_what_it_holds():
    kind = defined(KIND)
    assert code_digest(kind(1)) == code_digest(kind(1))
    assert len({code_digest(kind(1)), code_digest(kind(2)), code_digest(kind)}) == 3
    assert code_digest(kind(1).helped) != code_digest(kind(2).helped)


def test_a_class_that_was_edited_in_place_is_another():
    kind = defined(KIND)
    before = code_digest(kind)
    kind.helped = lambda self, x: x
    assert code_digest(kind) != before


def test_functions_that_call_each_other_come_to_an_end():
    text = "def f(n):\n    return g(n - 1)\ndef g(n):\n    return f(n) + 1\n"
    assert digest_of(text) == digest_of(text) != digest_of(text.replace("+ 1", "+ 2"))


def test_a_module_of_ones_own_counts_as_far_as_it_is_used():
    def using(text):
        module = types.ModuleType("my_own_helpers")
        exec(text, module.__dict__)
        return digest_of("f = lambda x: mine.g(x)", mine=module)

    first = "g = lambda x: x + 1\nh = lambda x: x"
    assert using(first) == using(first.replace("h = lambda x: x", "h = lambda x: 5"))
    assert using(first) != using(first.replace("+ 1", "+ 2"))


def test_what_is_installed_counts_by_its_name():
    assert code_digest(np.mean) == code_digest(np.mean) != code_digest(np.median)
    assert code_digest(keras.ops.relu) != code_digest(keras.ops.abs)
    assert code_digest(keras.layers.Dense) != code_digest(keras.layers.Conv2D)
    assert is_library(keras.ops.relu)
    assert is_library(keras.layers.ReLU())
    assert is_library(functools.partial(keras.ops.relu))
    assert not is_library(functools.partial(defined(PLAIN)))


def test_a_layer_that_is_enclosed_counts_by_its_class_whatever_its_name():
    digests = {digest_of("f = lambda x: layer(x)", layer=keras.layers.Dense(2)) for _ in range(2)}
    assert len(digests) == 1


def test_a_recursive_name_that_has_no_value_yet_does_no_harm():
    text = "def f():\n  def g():\n    return later\n  if False:\n    later = 1\n  return g"
    assert code_digest(defined(text)()) == code_digest(defined(text)())


def test_every_process_has_the_same_digest():
    script = (
        "from detl.networks.code import code_digest\n"
        "f = lambda x: x in {'a', 'b', 'c', 'd'} or print\n"
        "print(code_digest(f))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", "\n" * moved + script],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": str(moved), "PYTHONPATH": ":".join(filter(None, sys.path))},
        ).stdout
        for moved in range(2)
    }
    assert len(digests) == 1
