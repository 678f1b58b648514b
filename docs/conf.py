"""Configuration of the documentation site."""

import os
import re
import shutil
import sys
import warnings
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert as latex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator as HTMLTranslator

sys.path.insert(0, str(Path(__file__).parent))
import running

project = "detl"
author = "The detl authors"
copyright = "The detl authors"
version = release = installed_version("detl")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "myst_nb",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/*.ipynb", "gallery/*.py", "sg_execution_times.rst"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}

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
html_static_path = ["_static"]
html_css_files = ["detl.css"]
html_math_renderer = "mathml"  # no script, no network

nb_execution_mode = "cache"
nb_execution_cache_path = str(running.RUN.parent / "notebooks")
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_output_stderr = "remove"  # of TensorFlow


sphinx_gallery_conf = {
    "abort_on_example_error": True,
    "image_scrapers": ("running.last_figure",),
    "capture_repr": (),
    "examples_dirs": "_build/run",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "copyfile_regex": r".*\.svg",
    "within_subsection_order": "FileNameSortKey",
}

# A warning in the gallery says what it says, without the path of the machine.
warnings.formatwarning = lambda message, category, *rest: f"{category.__name__}: {message}\n"

STUDIES = Path(__file__).parents[1] / "studies"
ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
INTERVAL = re.compile(r"(?:[+-]?[\d.]+ )?\(?[+-]?[\d.]+ to [+-]?[\d.]+\)?|[\d.]+(?: %)? ± [\d.]+")
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

        text = ROW.sub(on_one_line, LINK.sub(moved, readme.read_text()))
        (pages / f"{readme.parent.name}.md").write_text(text)


def on_one_line(row: re.Match[str]) -> str:
    """Keep the numbers of a table's row on one line with their interval."""
    return INTERVAL.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), row[0])


def show_picture(app: Sphinx, what: str, name: str, *rest: Any) -> None:
    """Add its picture to the page of a plot."""
    lines: list[str] = rest[-1]
    picture = Path("_static", "plots", f"{name.removeprefix('detl.plots.')}.png")
    if (Path(app.srcdir) / picture).exists():
        lines += ["", f".. image:: /{picture}", f"   :alt: What {name} draws, from phantoms", ""]


def describe_outputs(app: Sphinx, document: nodes.document) -> None:
    """Let the text in place of a cell's picture be the call that draws it, not a file's name."""
    for cell in document.findall(nodes.container):
        if "cell" in cell["classes"]:
            code = cell[0].astext().splitlines()
            calls = [line.split("(")[0] for line in code if line and line[0] not in " )]}#"]
            for image in cell.findall(nodes.image):
                image["alt"] = f"What {calls[-1]} draws"


def link_to_studies(app: Sphinx, page: str, source: list[str]) -> None:
    """Let links to a study's README, which work in the repository, lead to its page here."""
    depth = "../" * page.count("/")
    source[0] = re.sub(
        r"\]\((?:\.\./)+studies/(\w+)/README\.md", rf"]({depth}generated/studies/\1.md", source[0]
    )


def inline_math(translator: HTMLTranslator, node: nodes.math) -> None:
    """Write a formula as MathML, which browsers show by themselves."""
    translator.body.append(latex2mathml(node.astext()))
    raise nodes.SkipNode


def block_math(translator: HTMLTranslator, node: nodes.math_block) -> None:
    """Write a formula on a line of its own."""
    translator.body.append(f'<div class="math">{latex2mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register all of it."""
    app.add_html_math_renderer("mathml", (inline_math, None), (block_math, None))
    app.connect("config-inited", running.prepare)
    app.connect("builder-inited", bring_studies)
    app.connect("source-read", link_to_studies)
    app.connect("doctree-read", describe_outputs)
    app.connect("autodoc-process-docstring", show_picture, priority=900)  # after numpydoc
