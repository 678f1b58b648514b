"""Write one self-contained page about a result."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from detl.checks import check_heatmaps, check_images, check_labels, check_path
from detl.reporting import evidence, extras
from detl.reporting.answers import checklist_sections
from detl.reporting.methods import methods_text, references
from detl.reporting.parts import Section
from detl.shortcuts import ShortcutReport
from detl.shortcuts.examination import THRESHOLD, Examination
from detl.shortcuts.heatmap_tests import out_of_fold_heatmaps
from detl.shortcuts.retraining import Trainer
from detl.storage.writing import write_whole
from detl.validation import Comparison, Evaluation
from detl.validation.results import CrossValidationResult

_LIMITS = (
    "The figures hold for images of the kind that was classified. Another hospital, camera or year "
    "needs an evaluation of its own.",
    "Heatmaps show where the evidence lies, not whether it is the right one.",
    "For research. Not for clinical use.",
)


def report(
    result: CrossValidationResult,
    path: str | Path,
    *,
    images: Any = None,
    classifier: Any = None,
    heatmaps: Any = None,
    names: Sequence[Any] | None = None,
    shortcuts: ShortcutReport | None = None,
    external: Evaluation | None = None,
    comparison: Comparison | None = None,
    analyses: Sequence[extras.Analysis] = (),
    title: str | None = None,
    verbose: int = 1,
) -> Path:
    """Write one HTML page about a result: pictures inside, nothing loaded from a network.

    It begins with accuracy, confusion matrix, and whether leaks or shortcuts were found. It ends
    with a methods paragraph to paste, the checklists TRIPOD+AI, CLAIM 2024 and REFORMS, settings
    and versions.

    Parameters
    ----------
    result : CrossValidationResult
        What :func:`detl.cross_validate` returned.
    path : path
        The file to write, which ends in ``.html``. One that is there is replaced.
    images : numpy.ndarray of shape (n, height, width, channels), optional
        The cross-validated images, pixels in [0, 255]: the most doubtful ones are shown. **They are
        then in the file**: think of whom you send it to.
    classifier : DomainExtensionTransfer, optional
        The one that was cross-validated. With ``images``, its folds are trained once more (frozen
        features are found again) and explain images that they were not trained on.
    heatmaps : numpy.ndarray of shape (n, height, width), optional
        Heatmaps in [0, 1] that you have already, in place of ``classifier``: of the predicted class
        of each image, by a network that was not trained on it; NaN where there is none.
    names : sequence of shape (n,), optional
        File name of each image.
    shortcuts : ShortcutReport, optional
        What :func:`detl.shortcuts.examine` returned.
    external : Evaluation, optional
        What :func:`detl.evaluate` returned.
    comparison : Comparison, optional
        What :func:`detl.compare` returned.
    analyses : sequence, optional
        What ``subgroups``, ``operating_point`` and ``net_benefit`` of the result returned, or
        :func:`detl.learning_curve`.
    title : str, optional
        Of the page.
    verbose : int, default=1
        1 shows a progress bar, in a terminal or a notebook, if folds are trained again; 0 nothing.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ImportError
        If jinja2 or matplotlib is missing: they are the extra ``report``.
    TypeError, ValueError
        If an argument is of another kind, or images are not those of the result.
    OSError
        If the folder is not there or nothing can be written to it.
    """
    path = _checked_path(path)
    _check(result, shortcuts, external, comparison)
    for name, value in (("classifier", classifier), ("heatmaps", heatmaps)):
        if value is not None and images is None:
            raise ValueError(f"{name} without images; give both, to show heatmaps.")
    if heatmaps is not None:
        if classifier is not None:
            raise ValueError("heatmaps and classifier are given; give one of them.")
        heatmaps = _checked_heatmaps(heatmaps, result, images)
    if images is not None:
        images = _checked_images(images, result)
    analyses = _checked_analyses(analyses, result)
    if external is not None and external.classes.tolist() != result.classes.tolist():
        raise ValueError(
            f"external is of the classes {external.classes.tolist()}, result of "
            f"{result.classes.tolist()}; give what belongs together."
        )
    if names is not None:
        names = check_labels(names, len(result.labels), name="names").tolist()
    template = _template()
    sections = [evidence.headline(result)]
    sections += [evidence.scores(result), evidence.curves(result), evidence.calibration(result)]
    sections += [extras.of_analysis(found) for found in analyses]
    if external is not None:
        sections.append(extras.external(external))
    if comparison is not None:
        sections.append(extras.comparison(comparison))
    if shortcuts is not None:
        sections.append(extras.shortcuts(shortcuts))
    if classifier is not None:
        sections.append(_heatmaps(result, images, classifier, verbose))
    if heatmaps is not None:
        sections.append(extras.heatmaps(result, images, heatmaps, _predicted(result)))
    sections += [
        found
        for found in (evidence.doubtful(result, images, names), evidence.training(result))
        if found is not None
    ]
    with_heatmaps = any(section.name == "heatmaps" for section in sections)
    sections += [evidence.audit(result), _limits(), _methods(result, with_heatmaps)]
    sections += [*checklist_sections(sections), evidence.settings(result)]
    page = template.render(
        title=title or "Cross-validation report",
        sections=sections,
        accuracy=result.scores["accuracy"],
        rows=result.row_unit,
        n_leaks=len(result.audit.leaks),
        shortcut=None if shortcuts is None else extras.verdict_on(shortcuts),
        version=result.versions.get("detl", ""),
    )
    return write_whole(path, lambda file: file.write(page.encode("utf-8", "replace")))


def _heatmaps(result: CrossValidationResult, images: Any, classifier: Any, verbose: int) -> Section:
    # Both refuse other images, and another classifier, than were cross-validated.
    examination = Examination(result, images, threshold=THRESHOLD)
    classifier = Trainer(examination, classifier, verbose=verbose).classifier
    maps, predicted = out_of_fold_heatmaps(
        result, classifier, examination.images, method="gradcam", verbose=verbose
    )
    return extras.heatmaps(result, examination.images, maps, predicted)


def _checked_images(images: Any, result: CrossValidationResult) -> np.ndarray:
    images = check_images(images)
    if len(images) != len(result.labels):
        hint = " A result by group has no images." if result.row_unit == "groups" else ""
        raise ValueError(
            f"{len(images)} images for a result of {len(result.labels)}; give those that were "
            f"cross-validated.{hint}"
        )
    return images


def _checked_analyses(analyses: Any, result: CrossValidationResult) -> Sequence[extras.Analysis]:
    """Return the analyses as a list, refusing those of a class that the result has not."""
    found = list(analyses) if isinstance(analyses, list | tuple) else [analyses]
    for analysis in found:
        name = getattr(analysis, "class_name", None)
        if name is not None and name not in result.classes.tolist():
            raise ValueError(
                f"analyses has a {type(analysis).__name__} of {name!r}, which is no class of the "
                "result; give what belongs together."
            )
    return found


def _predicted(result: CrossValidationResult) -> np.ndarray:
    """Return the column of the class that was decided for; -1 where no fold tested the image."""
    columns = np.full(len(result.labels), -1)
    rows = np.unique(result.predicted_rows)
    decided = result.predictions[rows].astype(result.classes.dtype)
    columns[rows] = np.searchsorted(result.classes, decided)
    return columns


def _checked_heatmaps(heatmaps: Any, result: CrossValidationResult, images: Any) -> np.ndarray:
    """Return heatmaps that fit the images; those of images without one stay NaN."""
    heatmaps = np.asarray(heatmaps)
    if heatmaps.shape != (len(result.labels), *np.shape(images)[1:3]):
        raise ValueError(
            f"heatmaps has shape {heatmaps.shape}; expected (n, height, width) of the "
            f"{len(result.labels)} images."
        )
    known = np.isfinite(heatmaps).all(axis=(1, 2))
    if not known.any():
        raise ValueError("heatmaps has NaN in every row; leave it out.")
    check_heatmaps(heatmaps[known])
    return heatmaps


def _methods(result: CrossValidationResult, with_heatmaps: bool) -> Section:
    return Section(
        name="methods",
        title="Methods, to paste",
        says="From what is on record. What was done before, such as how images were chosen, is for "
        "the author.",
        text=methods_text(result, with_heatmaps=with_heatmaps),
        points=references(result, with_heatmaps=with_heatmaps),
    )


def _limits() -> Section:
    return Section(name="limits", title="Limits", says=_LIMITS[0], points=_LIMITS[1:])


def _checked_path(path: Any) -> Path:
    path = check_path("path", path, of="an .html file")
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"path={str(path)!r}; expected a file name that ends in .html.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent}; make it first.")
    return path


def _check(result: Any, shortcuts: Any, external: Any, comparison: Any) -> None:
    given = (
        ("result", result, CrossValidationResult, "detl.cross_validate"),
        ("shortcuts", shortcuts, ShortcutReport, "detl.shortcuts.examine"),
        ("external", external, Evaluation, "detl.evaluate"),
        ("comparison", comparison, Comparison, "detl.compare"),
    )
    for name, value, kind, maker in given:
        if not isinstance(value, kind) and (value is not None or name == "result"):
            raise TypeError(f"{name} is a {type(value).__name__}; expected what {maker} returns.")


def _template() -> Any:
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise ImportError(
            "detl.report fills a page with jinja2, which is an extra: run "
            "`pip install '.[report]'` in the folder of detl, or `pip install jinja2`."
        ) from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files("detl.reporting").joinpath("templates/page.html")
    return environment.from_string(source.read_text(encoding="utf-8"))
