"""Splits of a data set that keep every class in every part and no group in two, and their audit.

The splits are scikit-learn's own; these functions choose between them, and say what is wrong with
the labels before anything is trained. The audit tells what is on both sides of a split, whoever
made it.
"""

from detl.folds.audit_report import Audit
from detl.folds.auditing import audit
from detl.folds.splitters import from_splitter
from detl.folds.splitting import (
    Indices,
    balanced_holdout,
    leave_one_site_out,
    stratified_folds,
)
from detl.renaming import renamed_names

__all__ = [
    "Audit",
    "Indices",
    "audit",
    "balanced_holdout",
    "from_splitter",
    "leave_one_site_out",
    "stratified_folds",
]

__getattr__ = renamed_names(__name__, {"leave_one_collection_out": "leave_one_site_out"})


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
