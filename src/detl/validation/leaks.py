"""Say what leaks between the folds, before anything is trained and below a table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from detl.caller import stacklevel_of_caller
from detl.folds.audit_report import Audit


def leaks_of(audits: Mapping[str, Audit]) -> list[str]:
    """Return each leak once; those that not all have, with the classifiers that have them."""
    having: dict[str, list[str]] = {}
    for name, audit in audits.items():
        for leak in audit.leaks:
            having.setdefault(leak, []).append(name)
    return [
        leak if len(names) == len(audits) else f"{leak} (The source of {', '.join(names)}.)"
        for leak, names in having.items()
    ]


def react_to_leaks(audits: Mapping[str, Audit], on_leak: str, *, remark: str = "") -> None:
    """Warn of leaks or refuse them, before anything is trained; a ``remark`` is warned of too."""
    leaks = leaks_of(audits)
    if not (leaks or remark) or on_leak == "ignore":
        return
    said = ["The folds leak: " + " ".join(leaks)] * bool(leaks) + [remark] * bool(remark)
    message = " ".join(said)
    if leaks and on_leak == "raise":
        advice = []
        if any(audit.leaks_across for audit in audits.values()):
            advice.append("Give groups, and remove copies, before anything is trained.")
        if any(audit.leaks_from_source for audit in audits.values()):
            advice.append(
                "Train the source without the groups of the target, or leave their images out of "
                "the target."
            )
        raise ValueError(" ".join([message, *advice]))
    warnings.warn(message, UserWarning, stacklevel=stacklevel_of_caller())
