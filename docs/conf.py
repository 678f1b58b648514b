"""Configuration of the documentation site."""

import os
import re
import shutil
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.application import Sphinx

project = "detl"
author = "The detl authors"
copyright = "The detl authors"
version = release = installed_version("detl")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "myst_parser",
    "numpydoc",
]
exclude_patterns = ["_build"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}

# Reference pages come from the docstrings, which give every parameter its type and shape in words:
# signatures stay short.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autosummary_ignore_module_all = False
autosummary_imported_members = True  # a room lists what its modules define
autosummary_context = {"listed_above": ["FeatureExtractor"]}  # beside the other names of detl
# Some file systems do not tell detl.folds.audit from detl.folds.Audit.
autosummary_filename_map = {"detl.folds.audit": "detl.folds.audit_function"}
numpydoc_show_class_members = False
smartquotes = False  # they would turn the quotes of default="last_block"
templates_path = ["_templates"]

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

# The build needs no network, so names of other packages are not links.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(keras|matplotlib|numpy|PIL|scipy|sklearn)\..*")]

# A dataclass documents its attributes in its own section, where they are no link targets.
nitpick_ignore = [("py:attr", "Explanation.heatmaps"), ("py:meth", "GradCAM.explain")]

html_theme = "furo"
html_title = f"detl {release}"

STUDIES = Path(__file__).parents[1] / "studies"
LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def bring_studies(app: Sphinx) -> None:
    """Write a page for the README of every study; READMEs and pictures lie outside of docs."""
    pages = Path(app.srcdir) / "generated" / "studies"
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir(parents=True)
    for readme in STUDIES.glob("*/README.md"):

        def moved(link: re.Match[str], folder: Path = readme.parent) -> str:
            target = (folder / link[1]).resolve()
            if target.name == "README.md":
                return f"]({target.parent.name}.md{link[2] or ''})"
            return f"]({os.path.relpath(target, pages)}{link[2] or ''})"

        (pages / f"{readme.parent.name}.md").write_text(LINK.sub(moved, readme.read_text()))


def link_to_studies(app: Sphinx, page: str, source: list[str]) -> None:
    """Let links to a study's README, which work in the repository, lead to its page here."""
    depth = "../" * page.count("/")
    source[0] = re.sub(
        r"\]\((?:\.\./)+studies/(\w+)/README\.md", rf"]({depth}generated/studies/\1.md", source[0]
    )


def setup(app: Sphinx) -> None:
    """Register both."""
    app.connect("builder-inited", bring_studies)
    app.connect("source-read", link_to_studies)
