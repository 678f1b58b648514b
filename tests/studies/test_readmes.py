"""Every study has a README with question and answer; its figures are those of its results."""

import csv
import re
from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "studies"
FOLDERS = sorted(path.parent for path in STUDIES.glob("*/run.py"))
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
TABLE = re.compile(r"^\|.*\|$", re.MULTILINE)
COMMAND = re.compile(r"^```console\n.*?^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_study_imports_no_other(folder):
    code = (folder / "run.py").read_text(encoding="utf-8")
    assert set(re.findall(r"^(?:from|import) studies\.(\w+)", code, re.MULTILINE)) <= {"shared"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_study_answers_its_question_with_figures_of_its_results(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    title, answer, *_ = text.split("\n\n")
    assert title.startswith("# ")
    assert title.endswith("?")
    assert answer.startswith("**")
    assert f"python -m studies.{folder.name}.run" in text
    assert len(COMMAND.sub("", TABLE.sub("", text)).split()) <= 500
    local = [target for target in LINK.findall(text) if "://" not in target]
    assert [target for target in local if not (folder / target).exists()] == []
    known = {
        cell
        for path in folder.glob("results/**/*.csv")
        for row in csv.reader(path.read_text(encoding="utf-8").splitlines())
        for cell in row
    }
    rows = [line.strip("| ").split(" | ") for line in TABLE.findall(text)]
    figures = [cell.strip() for row in rows for cell in row if re.match(r"[+-]?\d", cell)]
    assert [cell for cell in figures if cell not in known] == []


def test_the_page_of_evidence_names_every_study():
    page = (STUDIES.parent / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert set(re.findall(r"studies/(\w+)/README", page)) == {folder.name for folder in FOLDERS}


def test_no_study_is_without_results_and_no_results_without_a_study():
    folders = {path.parent for path in STUDIES.glob("*/results")}
    assert folders == set(FOLDERS)
