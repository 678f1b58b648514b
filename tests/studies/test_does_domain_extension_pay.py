from types import SimpleNamespace

import numpy as np
import pytest

from studies.does_domain_extension_pay import run
from studies.shared.tasks import Set


def test_scores_within_a_view_look_at_its_images_alone():
    view = np.array(["PA"] * 6 + ["AP"] * 6)
    labels = np.tile(["a", "b", "c"], 4)
    target = Set(images=np.zeros(12), labels=labels, groups=np.arange(12))
    predictions = np.where(view == "PA", labels, np.roll(labels, 1))
    probabilities = (predictions[:, None] == np.array(["a", "b", "c"])).astype(float)
    result = SimpleNamespace(labels=labels, predictions=predictions, probabilities=probabilities)
    more = np.where(view == "PA", 0.5, -0.5)
    found = run.within_views([result], more, target, view, is_reference=False)
    assert found["accuracy within PA"] == found["ROC AUC within PA"] == "1.000"
    assert found["accuracy within AP"] == "0.000"
    assert float(found["ROC AUC within AP"]) == pytest.approx(0.25)
    assert found["points more within PA"] == "+50.0 (+50.0 to +50.0)"
    assert found["points more within AP"] == "-50.0 (-50.0 to -50.0)"
