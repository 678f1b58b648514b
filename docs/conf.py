"""Configuration of the documentation site."""

from importlib.metadata import version as installed_version

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
