"""The page is one file that opens anywhere, shows what it was given, and runs nothing."""

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

import detl
from detl import DomainExtensionTransfer, cross_validate, report

EMPTY = {"meta", "img", "link", "br", "hr", "input"}


class Outline(HTMLParser):
    """Read a page, refusing tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.titles, self.ids, self.links = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.titles.append(data)


@pytest.fixture(scope="module")
def page(result, images, tmp_path_factory):
    """Return a page with all that does not need training, and its path."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    views = np.where(np.arange(120) % 2, "AP", "PA")
    analyses = [
        result.subgroups({"view": views}),
        result.operating_point("covid", sensitivity=0.9),
        result.net_benefit("covid"),
    ]
    assert report(result, path, images=images, analyses=analyses, title="Trial") == path
    return path


def test_the_page_is_well_formed_and_its_links_lead_somewhere(page):
    outline = Outline(page.read_text(encoding="utf-8"))
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.links
    assert {link.removeprefix("#") for link in outline.links} <= set(outline.ids)


def test_sections_come_in_order(page):
    titles = Outline(page.read_text(encoding="utf-8")).titles
    expected = [
        "Summary",
        "Scores",
        "ROC curves",
        "Calibration",
        "Subgroups",
        "Threshold for covid",
        "Net benefit of acting on covid",
        "Most doubtful labels",
        "Training",
        "Audit of the folds",
        "Limits",
        "Methods, to paste",
    ]
    assert titles[: len(expected)] == expected
    assert titles[-1] == "Settings, versions, digests"
    assert sum(title.startswith("Checklist ") for title in titles) == 3


def test_nothing_is_loaded_and_nothing_runs(page):
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    for source in re.findall(r'(?:src|href)="([^"]*)"', text):
        assert source.startswith(("data:image/png;base64,", "#"))
    assert "default-src 'none'" in text


def test_the_first_screen_has_accuracy_and_leaks(page, result):
    text = page.read_text(encoding="utf-8")
    assert f"<b>{result.accuracy:.3f}</b>" in text
    assert "none found" in text
    assert "not tested" in text
    assert "Not for clinical use" in text


def test_names_with_markup_are_text(make_result, tmp_path):
    name = "<script>alert(1)</script>"
    labels = np.array(["normal", name])[np.arange(40) % 2]
    result = make_result(labels, groups=np.arange(40) // 2)
    path = report(
        result,
        tmp_path / "report.html",
        title=name,
        names=[f"{name}{row}" for row in range(40)],
        analyses=[
            result.operating_point(name, threshold=0.5),
            result.subgroups({name: np.where(np.arange(40) % 4 < 2, name, "b")}),
        ],
    )
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 10
    Outline(text)


@pytest.mark.slow
def test_two_hundred_classes_fit_on_a_page(make_result, tmp_path):
    labels = np.char.add("class ", (np.arange(600) % 200).astype(str))
    result = make_result(labels, indices=[(np.arange(200), np.arange(200, 600))])
    path = report(result, tmp_path / "report.html")
    assert path.stat().st_size < 15e6


@pytest.mark.slow
def test_many_images_do_not_make_the_file_larger(make_result, tmp_path):
    labels = np.array(["a", "b"])[np.arange(5000) % 2]
    halves = [(np.arange(2500), np.arange(2500, 5000)), (np.arange(2500, 5000), np.arange(2500))]
    result = make_result(labels, indices=halves)
    images = np.random.default_rng(0).integers(0, 256, (5000, 96, 96, 1)).astype("uint8")
    path = report(result, tmp_path / "report.html", images=images)
    assert path.stat().st_size < 15e6


def test_a_classifier_explains_images_that_it_was_not_trained_on(
    tiny_source, tiny_images, tiny_labels, tmp_path
):
    transfer = DomainExtensionTransfer(tiny_source, epochs=1)
    groups = np.arange(40) // 2
    result = cross_validate(
        transfer, tiny_images, tiny_labels, groups=groups, n_splits=2, random_state=0
    )
    path = report(result, tmp_path / "report.html", images=tiny_images, classifier=transfer)
    text = path.read_text(encoding="utf-8")
    assert ">Heatmaps</h2>" in text
    assert "Grad-CAM was computed" in text
    with pytest.raises(ValueError, match="are not those that were cross-validated"):
        report(result, path, images=tiny_images[::-1], classifier=transfer)
    assert path.read_text(encoding="utf-8") == text  # what was there stays


def test_heatmaps_that_are_at_hand_are_shown(result, images, tmp_path):
    maps = np.random.default_rng(0).uniform(size=(120, 16, 16)).astype("float32")
    maps[5] = np.nan
    path = report(result, tmp_path / "report.html", images=images, heatmaps=maps)
    assert ">Heatmaps</h2>" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="heatmaps without images"):
        report(result, path, heatmaps=maps)
    with pytest.raises(ValueError, match="heatmaps and classifier are given"):
        report(result, path, images=images, heatmaps=maps, classifier=1)
    with pytest.raises(ValueError, match=r"heatmaps has shape \(119, 16, 16\); expected"):
        report(result, path, images=images, heatmaps=maps[1:])
    with pytest.raises(ValueError, match="NaN in every row"):
        report(result, path, images=images, heatmaps=np.full((120, 16, 16), np.nan))
    with pytest.raises(ValueError, match=r"heatmaps has values from .* expected \[0, 1\]"):
        report(result, path, images=images, heatmaps=2 * maps)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"path": "report.pdf"},
            ValueError,
            "path='report.pdf'; expected a file name that ends in",
        ),
        ({"path": 3}, TypeError, "path"),
        ({"path": "nowhere/report.html"}, FileNotFoundError, "There is no folder nowhere; make"),
        (
            {"result": "r"},
            TypeError,
            "result is a str; expected what detl.cross_validate returns",
        ),
        ({"external": 1}, TypeError, "external is a int; expected what detl.evaluate returns"),
        ({"shortcuts": 1}, TypeError, "shortcuts is a int; expected what detl.shortcuts.exam"),
        ({"comparison": 1}, TypeError, "comparison is a int; expected what detl.compare"),
        ({"classifier": 1}, ValueError, "classifier without images; give both"),
        ({"names": ["a"]}, ValueError, "1 names for 120 images"),
        ({"analyses": [1]}, TypeError, "analyses has a int"),
        (
            {"images": np.zeros((7, 8, 8, 1), np.uint8)},
            ValueError,
            "7 images for a result of 120; give those",
        ),
    ],
)
def test_wrong_arguments_are_refused(result, settings, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"result": result, "path": "report.html", **settings}
    with pytest.raises(error, match=message):
        report(given.pop("result"), given.pop("path"), **given)
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_belong_together_is_refused(result, make_result, tmp_path):
    path = tmp_path / "report.html"
    other = make_result(np.array(["cat", "dog"])[np.arange(40) % 2])
    point = other.operating_point("dog", threshold=0.5)
    with pytest.raises(ValueError, match="analyses has a OperatingPoint of 'dog', which is no cl"):
        report(result, path, analyses=point)  # one alone is taken too
    evaluation = detl.Evaluation(
        classes=other.classes,
        labels=other.labels,
        groups=None,
        probabilities=other.probabilities,
        decisions=None,
        leaks=(),
        internal=None,
        settings={"interval_seed": 0},
    )
    with pytest.raises(ValueError, match=r"external is of the classes \['cat', 'dog'\], result of"):
        report(result, path, external=evaluation)
    by_group = result.by_group(several_labels="split")
    with pytest.raises(ValueError, match=r"120 images for a result of .* A result by group has no"):
        report(
            make_result(["a", "b"] * 9, groups=np.arange(18)).by_group(),
            path,
            images=np.zeros((120, 8, 8, 1), np.uint8),
        )
    assert by_group.row_unit == "groups"


def test_a_folder_that_cannot_be_written_to_says_so(result, full_disk, tmp_path):
    with full_disk(), pytest.raises(OSError, match="No space left"):
        report(result, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_without_jinja2_it_says_how_to_get_it(result, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[report\]'"):
        detl.report(result, tmp_path / "report.html")


CONTRAST = """
() => {
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => {
      v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z; };
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const behind = element => {
    let layers = [];
    for (let e = element; e; e = e.parentElement)
      layers.push(parts(getComputedStyle(e).backgroundColor));
    let found = [255, 255, 255];
    for (const [r, g, b, a = 1] of layers.reverse())
      found = found.map((v, i) => v * (1 - a) + [r, g, b][i] * a);
    return found; };
  let worst = 21, where = "";
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own) continue;
    const a = light(parts(getComputedStyle(element).color)), b = light(behind(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst) { worst = ratio; where = element.outerHTML.slice(0, 80); }
  }
  return [worst, where];
}
"""
CUT = """
() => [...document.querySelectorAll("h1, h2, p, li, a, .card, figcaption")]
  .filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline")
  .map(e => e.outerHTML.slice(0, 80))
"""


@pytest.fixture(scope="module")
def browser():
    """Return a headless Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_page(browser, page, width, scheme):
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said, asked = [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]
    assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
    assert tab.evaluate("document.images.length") == 6
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate(CUT) == []
    worst, where = tab.evaluate(CONTRAST)
    assert worst >= 4.5, where  # WCAG 2.2, level AA
    tab.close()
