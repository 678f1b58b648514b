"""Domain extension transfer learning: pretrain on one domain, extend to its rarer classes.

``import detl`` costs milliseconds: a name loads its module, and with it Keras or scikit-learn, when
it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detl import (
        backbones,
        datasets,
        faithfulness,
        features,
        folds,
        images,
        metrics,
        plots,
        recipes,
        screening,
        shortcuts,
    )
    from detl.features.extraction import FeatureExtractor
    from detl.gradcam.explanation import GradCAM
    from detl.pretraining.augmentation import Augmentation
    from detl.pretraining.source import SourceModel, load_source
    from detl.pretraining.training import pretrain
    from detl.reporting.writing import report
    from detl.transfer.classifier import DomainExtensionTransfer
    from detl.transfer.loading import load
    from detl.validation.averaging import average_results
    from detl.validation.comparison import compare
    from detl.validation.cross_validation import cross_validate
    from detl.validation.differences import Comparison, compare_results
    from detl.validation.evaluating import evaluate
    from detl.validation.evaluation import Evaluation
    from detl.validation.fold_training import FoldError
    from detl.validation.learning_curves import LearningCurve
    from detl.validation.recommendation import Recommendation
    from detl.validation.recommending import recommend
    from detl.validation.results import CrossValidationResult
    from detl.validation.training_sizes import learning_curve

    __version__: str

__all__ = [
    "Augmentation",
    "Comparison",
    "CrossValidationResult",
    "DomainExtensionTransfer",
    "Evaluation",
    "FeatureExtractor",
    "FoldError",
    "GradCAM",
    "LearningCurve",
    "Recommendation",
    "SourceModel",
    "average_results",
    "backbones",
    "compare",
    "compare_results",
    "cross_validate",
    "datasets",
    "evaluate",
    "faithfulness",
    "features",
    "folds",
    "images",
    "learning_curve",
    "load",
    "load_source",
    "metrics",
    "plots",
    "pretrain",
    "recipes",
    "recommend",
    "report",
    "screening",
    "shortcuts",
]

# Public name -> the module that defines it. Public names that are missing here are modules.
_DEFINED_IN = {
    "Augmentation": "pretraining",
    "Comparison": "validation",
    "CrossValidationResult": "validation",
    "DomainExtensionTransfer": "transfer",
    "Evaluation": "validation",
    "FeatureExtractor": "features",
    "FoldError": "validation",
    "GradCAM": "gradcam",
    "LearningCurve": "validation",
    "Recommendation": "validation",
    "SourceModel": "pretraining",
    "average_results": "validation",
    "compare": "validation",
    "compare_results": "validation",
    "cross_validate": "validation",
    "load": "transfer",
    "evaluate": "validation",
    "learning_curve": "validation",
    "load_source": "pretraining",
    "pretrain": "pretraining",
    "recommend": "validation",
    "report": "reporting",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name == "__version__":
        from importlib import metadata  # takes longer than all else here

        value: Any = metadata.version("detl")
    elif name in _DEFINED_IN:
        value = getattr(importlib.import_module(f"detl.{_DEFINED_IN[name]}"), name)
    elif name in __all__:
        value = importlib.import_module(f"detl.{name}")
    else:
        raise AttributeError(
            f"module 'detl' has no attribute {name!r}; it offers {', '.join(__all__)}."
        )
    globals()[name] = value  # the next look-up finds it without this function
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__, "__version__"})
