"""Run the pages and the gallery of the site, in a folder of their own.

A page finds there what the quickstart wrote: ``source.keras``.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx_gallery.scrapers import figure_rst

RUN = Path(__file__).parent / "_build" / "run"
CELL = re.compile(r"^```\{code-cell\}.*\n((?:.*\n)*?)```$", re.MULTILINE)


def prepare(app: Sphinx, *_: object) -> None:
    """Train the source model of the quickstart, and let pages and examples run in the folder."""
    ipython = RUN.parent / "ipython"
    startup = ipython / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "folder.py").write_text(f"import os; os.chdir({str(RUN)!r})\n")
    os.environ["IPYTHONDIR"] = str(ipython)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # sphinx-gallery runs an example where its file lies.
    shutil.copytree(Path(app.srcdir).parent / "examples" / "gallery", RUN, dirs_exist_ok=True)
    if not (RUN / "source.keras").exists():
        cells = "".join(CELL.findall((Path(app.srcdir) / "quickstart.md").read_text()))
        code = cells[: cells.index('print(f"validation')]
        subprocess.run([sys.executable, "-c", code], cwd=RUN, check=True)


def last_figure(block: tuple[str, ...], variables: dict[str, Any], conf: dict[str, Any]) -> str:
    """Save the figure that a cell of the gallery ends with; detl's are unknown to pyplot."""
    if block[1].rstrip().split("\n")[-1] != "figure":
        return ""
    path = next(variables["image_path_iterator"])
    variables["example_globals"]["figure"].savefig(path, dpi=110)
    return figure_rst([path], conf["src_dir"])
