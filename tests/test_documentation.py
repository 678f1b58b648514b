"""The documentation runs: its Python blocks are executed, its reference is complete."""

import os
import re
import runpy
from pathlib import Path

import pytest

import detl

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
PAGES = sorted(
    page
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]
    if not {"_build", "generated"} & set(page.relative_to(ROOT).parts)
)
# Cells of pages (```{code-cell}) and the gallery run when the site is built, the README from the
# built package.
RUNNABLE = [
    page
    for page in PAGES
    if page.name != "README.md" and PYTHON_BLOCK.search(page.read_text(encoding="utf-8"))
]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_the_python_blocks_of_a_page_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in PYTHON_BLOCK.finditer(text):
        # Blank lines in front make a traceback point at the line of the page.
        lines_before = text.count("\n", 0, block.start(1))
        exec(compile("\n" * lines_before + block[1], str(page), "exec"), namespace)


def test_every_plot_has_a_picture_on_its_page():
    pictures = {path.stem for path in (DOCS / "_static" / "plots").glob("*.png")}
    assert pictures == set(detl.plots.__all__)


def test_readme_and_quickstart_run():
    """The one from the built package, the other when the site is built."""
    package = (ROOT / "Makefile").read_text(encoding="utf-8").split("\npackage:")[1]
    assert "README.md > dist/readme.py" in package
    assert "/bin/python readme.py" in package
    assert PYTHON_BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert "```{code-cell}" in (DOCS / "quickstart.md").read_text(encoding="utf-8")


def test_a_cell_that_fails_stops_the_building_of_the_site():
    conf = (DOCS / "conf.py").read_text(encoding="utf-8")
    assert "nb_execution_raise_on_error = True" in conf
    assert '"abort_on_example_error": True' in conf


@pytest.mark.parametrize("name", detl.__all__)
def test_every_public_name_is_in_the_reference(name):
    reference = (DOCS / "api" / "index.rst").read_text(encoding="utf-8")
    assert re.search(rf"^   {name}$", reference, re.MULTILINE)


ROOMS = sorted(
    path.stem
    for path in (ROOT / "src/detl").iterdir()
    if not path.stem.startswith("__") and path.name != "py.typed"
)


@pytest.mark.parametrize("module", ROOMS)
def test_every_module_has_its_row_in_the_architecture(module):
    rooms = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert f"| `{module}` |" in rooms


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page):
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    # The gallery's pages are written when the site is built.
    files = [re.sub(r"^gallery/(plot_\w+)$", r"../examples/gallery/\1.py", each) for each in local]
    files = [file for file in files if file != "gallery/index.rst"]
    missing = [file for file in files if not os.path.exists(page.parent / file)]
    assert missing == []


def test_the_picture_of_the_house_shows_the_imports_of_today():
    house = runpy.run_path(str(DOCS / "house.py"))
    drawn = (DOCS / "house.svg").read_text(encoding="utf-8")
    assert house["drawing"]() == drawn, "run: python docs/house.py"
