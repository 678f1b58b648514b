"""How good a classifier is: cross-validation, comparison, and which recipe to take."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detl.validation.averaging import average_results
    from detl.validation.comparison import compare
    from detl.validation.cross_validation import cross_validate
    from detl.validation.differences import Comparison, Difference, compare_results
    from detl.validation.evaluating import evaluate
    from detl.validation.evaluation import Evaluation
    from detl.validation.fold_training import FoldError
    from detl.validation.learning_curves import LearningCurve
    from detl.validation.recommendation import Recommendation
    from detl.validation.recommending import recommend
    from detl.validation.results import CrossValidationResult, FoldResult
    from detl.validation.significance import corrected_t_test
    from detl.validation.training_sizes import learning_curve

__all__ = [
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
]

# A worker reads its number of threads before Keras is imported, and a result needs no Keras.
_DEFINED_IN = {
    "Comparison": "differences",
    "CrossValidationResult": "results",
    "Difference": "differences",
    "Evaluation": "evaluation",
    "FoldError": "fold_training",
    "FoldResult": "results",
    "LearningCurve": "learning_curves",
    "Recommendation": "recommendation",
    "average_results": "averaging",
    "compare": "comparison",
    "compare_results": "differences",
    "corrected_t_test": "significance",
    "cross_validate": "cross_validation",
    "evaluate": "evaluating",
    "learning_curve": "training_sizes",
    "recommend": "recommending",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _DEFINED_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}.")
    return getattr(importlib.import_module(f"{__name__}.{_DEFINED_IN[name]}"), name)


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
