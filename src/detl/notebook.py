"""How results show themselves in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

_MOST_CLASSES = 20  # of a confusion matrix that is looked at
_PRE = '<pre style="line-height: 1.35; overflow-x: auto">'


class ShowsItself:
    """What shows itself in a notebook as it prints."""

    def _repr_html_(self) -> str:
        return f"{_PRE}{escape(str(self))}</pre>"


def with_matrix(headline: str, matrix: Any, rows: Sequence[Any], columns: Sequence[Any]) -> str:
    """Return a headline and a confusion matrix, shaded by shares of the true class."""
    counts = np.asarray(matrix)
    lines = [f"<p><strong>{escape(headline)}</strong></p>"]
    if len(columns) <= _MOST_CLASSES:
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        heads = "".join(f"<th>{escape(str(name))}</th>" for name in columns)
        lines.append(f"<table><thead><tr><th>true class</th>{heads}</tr></thead><tbody>")
        for name, of_class, of_shares in zip(rows, counts.tolist(), shares, strict=True):
            cells = "".join(
                f'<td style="background: rgba(29, 95, 174, {0.55 * share:.2f})">{count}</td>'
                for count, share in zip(of_class, of_shares, strict=True)
            )
            lines.append(f"<tr><th>{escape(str(name))}</th>{cells}</tr>")
        lines.append("</tbody></table>")
    return "\n".join(lines)


def details(summary: str, text: str) -> str:
    """Return a text as it prints, behind a line to open it."""
    return f"<details><summary>{escape(summary)}</summary>{_PRE}{escape(text)}</pre></details>"
