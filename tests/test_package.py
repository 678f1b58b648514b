"""The package as a whole: what `import detl` costs and offers."""

import importlib
import subprocess
import sys
from importlib.metadata import version

import pytest

import detl

# What `import detl.<room>` offers, and nothing else.
ROOMS = {
    "backbones": ["alexnet", "block_names", "from_application", "resnet50", "vgg16"],
    "datasets": ["ImageSet", "load_digits", "load_phantoms", "make_phantoms"],
    "faithfulness": [
        "Curve",
        "Estimate",
        "Localization",
        "Randomization",
        "box_masks",
        "deletion",
        "energy",
        "insertion",
        "intersection_over_union",
        "pointing_game",
        "randomization",
        "road",
    ],
    "features": [
        "FeatureExtractor",
        "PrecomputedFeatures",
        "clear_cache",
        "extract",
        "precomputed",
    ],
    "folds": [
        "Audit",
        "Indices",
        "audit",
        "balanced_holdout",
        "from_splitter",
        "leave_one_site_out",
        "stratified_folds",
    ],
    "gradcam": ["Explanation", "GradCAM"],
    "images": ["LoadedImages", "load", "load_folders", "resize"],
    "metrics": [
        "OVERALL",
        "PER_CLASS",
        "Interval",
        "Predictions",
        "RocCurve",
        "Score",
        "class_table",
        "reliability",
        "roc_curves",
        "scores",
    ],
    "reporting": ["report"],
    "screening": [
        "DecisionCurve",
        "Estimate",
        "OperatingPoint",
        "Recalibration",
        "Subgroup",
        "Subgroups",
    ],
    "plots": [
        "audit",
        "comparison",
        "confusion_matrix",
        "heatmap_grid",
        "learning_curves",
        "most_confused",
        "net_benefit",
        "overlay",
        "reliability_diagram",
        "roc_curves",
        "shortcut_report",
        "subgroups",
        "training_sizes",
    ],
    "pretraining": ["Augmentation", "SourceModel", "load_source", "pretrain"],
    "recipes": [
        "FromScratch",
        "LinearProbe",
        "domain_extension",
        "fine_tuning",
        "from_scratch",
        "linear_probe",
        "thumbnail",
    ],
    "shortcuts": [
        "Estimate",
        "ShortcutReport",
        "ShortcutTest",
        "baseline_test",
        "examine",
        "heatmap_test",
        "region_test",
        "site_test",
    ],
    "transfer": ["DomainExtensionTransfer", "TrainingRecord", "load"],
    "validation": [
        "Comparison",
        "CrossValidationResult",
        "Difference",
        "Evaluation",
        "FoldError",
        "FoldResult",
        "LearningCurve",
        "Recommendation",
        "average_results",
        "compare",
        "compare_results",
        "corrected_t_test",
        "cross_validate",
        "evaluate",
        "learning_curve",
        "recommend",
    ],
}
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


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_offers_its_public_names_and_nothing_else(room):
    module = importlib.import_module(f"detl.{room}")

    assert dir(module) == sorted(ROOMS[room])
    assert all(hasattr(module, name) for name in ROOMS[room])


def test_a_result_is_read_without_keras():
    loaded = modules_loaded_by("from detl import CrossValidationResult, compare_results")
    assert loaded.isdisjoint({"keras", "tensorflow", "matplotlib"})


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
