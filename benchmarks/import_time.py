"""Time ``import detl`` in a fresh process, beside the packages that it stands on.

Processes take turns; what a bare interpreter needs is taken off.

Run: ``python -m benchmarks.import_time``
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.rows import measured_with, spread, write_rows

STATEMENTS = {
    "a bare interpreter": "pass",
    "import detl": "import detl",
    "import numpy": "import numpy",
    "import detl and use the folds": "from detl import folds",
    "import keras": "import keras",
    "import detl and use pretrain": "from detl import pretrain",
}


def seconds_of(statement: str) -> float:
    """Return the wall time of a process that runs one statement."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], env=environment, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Let the statements take turns, and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/import_time.csv"))
    parsed = parser.parse_args()
    seconds = {name: np.empty(parsed.rounds) for name in STATEMENTS}
    for turn in range(-1, parsed.rounds):  # the first, which fills the system's cache, is not kept
        for name, statement in STATEMENTS.items():
            found = seconds_of(statement)
            if turn >= 0:
                seconds[name][turn] = found
    bare = seconds["a bare interpreter"]
    rows = [
        {
            "statement": name,
            "ms, median": f"{1e3 * np.median(mine):.0f}",
            "fastest to slowest": spread(1e3 * mine, ".0f"),
            "ms beyond a bare interpreter, median": f"{1e3 * np.median(mine - bare):.0f}",
            "rounds": parsed.rounds,
            **measured_with("keras", "tensorflow", "numpy"),
        }
        for name, mine in seconds.items()
    ]
    write_rows(parsed.output, rows)
    for row in rows:
        print(*row.values())


if __name__ == "__main__":
    main()
