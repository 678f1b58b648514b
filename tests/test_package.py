"""The package as a whole: what `import detl` costs and offers."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import detl

HEAVY = ("keras", "matplotlib", "numpy", "scipy", "sklearn", "tensorflow")


def modules_loaded_by(code: str) -> set[str]:
    """Top-level names of sys.modules after running code in a fresh interpreter."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    finished = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return set(finished.stdout.split())


def test_import_detl_loads_no_heavy_package():
    assert modules_loaded_by("import detl").isdisjoint(HEAVY)


def test_listing_the_names_loads_no_heavy_package():
    assert modules_loaded_by("import detl; dir(detl); detl.__version__").isdisjoint(HEAVY)


def test_folds_and_metrics_need_no_keras():
    loaded = modules_loaded_by("from detl import folds, metrics")
    assert loaded.isdisjoint({"keras", "tensorflow", "matplotlib"})


@pytest.mark.parametrize("name", detl.__all__)
def test_every_public_name_resolves_and_is_listed(name):
    found = getattr(detl, name)

    assert found.__name__.rpartition(".")[2] == name
    assert name in dir(detl)


def test_the_same_object_comes_back_every_time():
    assert detl.GradCAM is detl.GradCAM
    assert detl.folds is sys.modules["detl.folds"]


def test_the_version_is_the_installed_one():
    assert detl.__version__ == version("detl")


def test_an_unknown_attribute_is_named_with_what_there_is():
    with pytest.raises(AttributeError, match=r"no attribute 'pretrian'.*pretrain"):
        detl.pretrian  # noqa: B018


def test_an_unknown_name_cannot_be_imported():
    with pytest.raises(ImportError, match="'vgg16'"):
        from detl import vgg16  # noqa: F401
