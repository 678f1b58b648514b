"""Numbers of several runs are published side by side, and never as something they are not."""

import csv
import json

import numpy as np
import pytest

from examples.covid_chest_xray import publishing, report
from examples.covid_chest_xray.differences import paired
from examples.covid_chest_xray.protocols import PROTOCOLS


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def record(path, *, seed, accuracies, leaks=(), backbone="alexnet", width=0.25):
    """Write what a run leaves of its protocols and leaks."""
    path.parent.mkdir(parents=True)
    found = {
        name: {"accuracy": value, "interval": {"low": value - 0.1, "high": value + 0.1}}
        for name, value in accuracies.items()
    }
    worth = [
        {"from": first, "to": other, "accuracy": value, "low": value - 0.02, "high": value + 0.02}
        for first, other, value in leaks
    ]
    settings = {"backbone": backbone, "random_state": seed, "profile": {"width": width}}
    path.write_text(json.dumps({"settings": settings, "target": found, "leaks": worth}))


def test_runs_with_other_seeds_stand_beside_the_first(tmp_path):
    published = tmp_path / "published"
    record(
        published / "alexnet/results.json",
        seed=0,
        accuracies={"paper": 0.5, "strict": 0.4},
        leaks=[("paper", "strict", 0.1)],
    )
    record(published / "vgg16/results.json", seed=0, accuracies={"paper": 0.9}, backbone="vgg16")
    for seed, strict in ((1, 0.5), (2, 0.6)):
        record(
            tmp_path / f"run_{seed}/alexnet/numbers/results.json",
            seed=seed,
            accuracies={"strict": strict},
            leaks=[("paper", "strict", 0.1 * seed + 0.1)] if seed == 2 else [],
        )
        (copy,) = publishing.copy_other_seed(tmp_path / f"run_{seed}", published)
        assert copy == published / f"seeds/alexnet_{seed}.json"
    paper, strict = read_csv(published / "seeds.csv")  # the network with one seed is left out
    assert (paper["network"], paper["protocol"]) == ("alexnet", "paper")
    assert paper["seed 0"] == "0.500 (0.400 to 0.600)"
    assert (paper["seed 1"], paper["mean"], paper["seeds"]) == ("", "0.500", "1")
    assert (strict["mean"], strict["seeds"]) == ("0.500", "3")
    (leak,) = read_csv(published / "seeds_leaks.csv")
    assert leak["seed 0, points"] == "+10.0 (+8.0 to +12.0)"
    assert (leak["seed 1, points"], leak["mean"]) == ("", "+20.0")


def test_a_seed_that_is_published_is_not_published_as_another(tmp_path):
    record(tmp_path / "published/alexnet/results.json", seed=0, accuracies={"strict": 0.4})
    record(tmp_path / "run/alexnet/numbers/results.json", seed=0, accuracies={"strict": 0.4})
    with pytest.raises(ValueError, match="has seed 0, which is published already"):
        publishing.copy_other_seed(tmp_path / "run", tmp_path / "published")
    with pytest.raises(FileNotFoundError, match="expected the output of a run"):
        publishing.copy_other_seed(tmp_path / "published", tmp_path / "published")


def test_a_run_with_other_settings_is_not_published_as_another_seed(tmp_path):
    published = tmp_path / "published"
    record(published / "vgg16/results.json", seed=0, accuracies={"strict": 0.4}, backbone="vgg16")
    for backbone, width in (("alexnet", 0.25), ("vgg16", 0.5)):
        record(
            tmp_path / f"run/{backbone}/numbers/results.json",
            seed=1,
            accuracies={"strict": 0.5},
            backbone=backbone,
            width=width,
        )
    with pytest.raises(ValueError, match=r"'width': 0.5.* published are .*'width': 0.25"):
        publishing.copy_other_seed(tmp_path / "run", published)
    assert not (published / "seeds").exists()  # nothing of the run, not only not this one


def test_another_seed_may_be_of_a_machine_with_another_number_format(tmp_path):
    published = tmp_path / "published"
    for path, seed, precision in (
        (published / "vgg16/results.json", 0, "auto"),
        (tmp_path / "run/vgg16/numbers/results.json", 1, "float32"),
    ):
        record(path, seed=seed, accuracies={"strict": 0.4}, leaks=[("paper", "strict", 0.1)])
        run = json.loads(path.read_text())
        run["settings"]["profile"]["precision"] = precision
        path.write_text(json.dumps(run))
    (copy,) = publishing.copy_other_seed(tmp_path / "run", published)
    assert copy.name == "alexnet_1.json"


def variant(folder, *, protocol, right, rate=1e-4, width=1.0, names=("a", "b", "c", "d")):
    """Write what a run of one protocol leaves: a record, and whether each image was told right."""
    path = folder / "alexnet/numbers/results.json"
    record(path, seed=0, accuracies={protocol: np.mean(right)}, backbone="vgg16", width=width)
    run = json.loads(path.read_text())
    run["settings"]["profile"]["target_learning_rate"] = rate
    run["target"][protocol] |= {"classes": ["no", "yes"], "per_class": {"sensitivity": [0.25, 1]}}
    run["source"] = {
        PROTOCOLS[protocol].source: {
            "epochs": 7,
            "training_accuracy": 0.9,
            "accuracy_on_normal_and_other_of_the_target": 0.8,
        }
    }
    run |= {"epochs": {"epochs": 9}, "versions": {"backend": "tensorflow 0"}}
    path.write_text(json.dumps(run))
    rows = [
        {"image": name, "patient": name, "label": "yes", "prediction": "yes" if told else "no"}
        for name, told in zip(names, right, strict=True)
    ]
    report.write_csv(path.parent / f"predictions_{protocol}.csv", rows)


def test_runs_with_other_settings_stand_in_one_table_beside_strict_of_the_same_network(tmp_path):
    variant(tmp_path / "sound", protocol="strict", right=[1, 0, 0, 0])
    variant(tmp_path / "heart", protocol="paper-by-heart", right=[1, 1, 1, 0], rate=1e-3)
    variant(tmp_path / "narrow", protocol="paper-by-heart", right=[1, 0, 1, 0], width=0.25)
    destination = tmp_path / "published"
    copies = publishing.copy_variants([tmp_path / "narrow"], destination)
    copies += publishing.copy_variants([tmp_path / "sound", tmp_path / "heart"], destination)
    names = ["narrow_vgg16.json", "sound_vgg16.json", "heart_vgg16.json"]
    assert [copy.name for copy in copies] == names
    narrow, heart, sound = read_csv(destination / "variants.csv")
    assert [row["width"] for row in (narrow, heart, sound)] == ["0.25", "1.0", "1.0"]
    # No strict run of this width.
    assert (narrow["points more than strict"], sound["points more than strict"]) == ("", "")
    more = [1, 1, 1, 0], [1, 0, 0, 0]
    expected = paired(np.subtract(*more).astype(float), np.array(list("abcd")))
    assert expected["accuracy"] == 0.5
    assert heart["points more than strict"] == "+50.0 ({:+.1f} to {:+.1f})".format(
        100 * expected["low"], 100 * expected["high"]
    )
    assert (heart["target's rate"], heart["epochs"], heart["source's epochs"]) == (
        "0.001",
        "9",
        "7",
    )
    assert (heart["accuracy"], heart["sensitivity no"]) == ("0.750 (0.650 to 0.850)", "0.25")
    assert heart["on the target's normal and other"] == "0.800"


def test_runs_of_other_images_are_not_compared(tmp_path):
    variant(tmp_path / "sound", protocol="strict", right=[1, 0, 0, 0])
    variant(tmp_path / "heart", protocol="paper", right=[1, 1, 1, 0], names="abce")
    with pytest.raises(ValueError, match="not of the same images in the same order"):
        publishing.copy_variants([tmp_path / "sound", tmp_path / "heart"], tmp_path / "published")
    assert not (tmp_path / "published").exists()
