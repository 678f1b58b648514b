"""Which images are drawn for the target."""

import numpy as np
import pytest

from examples.covid_chest_xray import paper_sets, tables
from studies.shared.draws import DRAWS, data_b


def records(labels, patients):
    return tables.Records(
        paths=np.array([f"{k}.png" for k in range(len(labels))]),
        labels=np.array(labels),
        patients=np.array(patients).astype(str),
        sources=np.full(len(labels), "nih"),
    )


@pytest.fixture
def nih():
    """Return 400 patients with a normal image each, half of them with five of a disease too."""
    labels, patients = [], []
    for patient in range(400):
        disease = paper_sets.OTHER_DISEASES[patient % 6]
        found = ["No Finding"] + ([disease] * 5 + ["Pneumonia|Mass"] if patient % 2 else [])
        labels += found
        patients += [patient] * len(found)
    return records(labels, patients)


@pytest.fixture
def covid():
    return records([tables.COVID] * 340, np.arange(340) + 1000)


@pytest.mark.parametrize("draw", DRAWS)
def test_a_draw_has_the_papers_numbers_as_far_as_there_are_images(nih, covid, draw):
    drawn = data_b(nih, covid, draw=draw, seed=0)
    counts = dict(zip(*(a.tolist() for a in np.unique(drawn.labels, return_counts=True))))
    # Only three of the six diseases are at odd patients.
    assert counts == {"normal": 350, "pneumonia": 200, "other": 150, "covid-19": 305}
    assert len(set(drawn.paths[drawn.labels != "covid-19"])) == 700
    again = data_b(nih, covid, draw=draw, seed=0)
    other = data_b(nih, covid, draw=draw, seed=1)
    assert again.paths.tolist() == drawn.paths.tolist() != other.paths.tolist()


def test_patients_of_whom_the_source_would_lose_nothing_come_first(nih, covid):
    drawn = data_b(nih, covid, draw="fewest diseased images first", seed=0)
    normal = drawn.patients[drawn.labels == "normal"].astype(int)
    assert set(range(0, 400, 2)) <= set(normal.tolist())
    by_chance = data_b(nih, covid, draw="at random", seed=0)
    normal = by_chance.patients[by_chance.labels == "normal"].astype(int)
    assert not set(range(0, 400, 2)) <= set(normal.tolist())
