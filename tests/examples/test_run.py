import csv
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import detl
from detl.datasets import make_phantoms
from examples.covid_chest_xray import __main__ as command
from examples.covid_chest_xray import (
    experiment,
    heatmaps,
    material,
    publishing,
    source_stage,
)
from examples.covid_chest_xray.profiles import PROFILES, Phantoms, Profile

TINY = Profile(
    size=64,
    width=1 / 32,
    source_epochs=1,
    target_epochs=(1,),
    n_splits=2,
    phantoms=Phantoms(
        train={"normal": 8, "diseased": 8},
        validation={"normal": 4, "diseased": 4},
        target={"normal": 10, "pneumonia": 10, "other": 10, "covid-19": 10},
    ),
)


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def drawn():
    return material.from_phantoms(TINY.phantoms, size=TINY.size, random_state=0)


@pytest.fixture(scope="module")
def finished(drawn, tmp_path_factory):
    """Return the output folder of a finished run, and what the run returned."""
    output = tmp_path_factory.mktemp("output")
    numbers = experiment.run(
        {"patients": drawn}, profile=TINY, backbone="alexnet", output=output, random_state=0
    )
    return output, numbers


@pytest.mark.slow
def test_the_results_file_holds_what_the_run_returned_with_settings_and_versions(finished):
    output, numbers = finished
    assert json.loads((output / "alexnet/numbers/results.json").read_text()) == numbers
    assert numbers["settings"]["random_state"] == 0
    assert numbers["settings"]["profile"]["width"] == TINY.width
    assert set(numbers["versions"]) == {
        "python",
        "detl",
        "keras",
        "backend",
        "numpy",
        "scikit-learn",
    }
    assert set(numbers["seconds"]) == {
        "source patients",
        "choice of epochs",
        "target new-patients",
        "target strict",
        "gradcam",
    }
    assert numbers["data"]["patients"]["kind"] == "phantoms"


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["new-patients", "strict"])
def test_matrix_predictions_and_accuracies_of_a_protocol_agree(finished, protocol):
    folder, found = finished[0] / "alexnet/numbers", finished[1]["target"][protocol]
    matrix = np.array(found["confusion_matrix"])
    np.testing.assert_array_equal(matrix.sum(axis=1), [10, 10, 10, 10])
    rows = read_csv(folder / f"confusion_matrix_{protocol}.csv")
    assert [row["true"] for row in rows] == found["classes"]
    assert [[int(row[name]) for name in found["classes"]] for row in rows] == matrix.tolist()

    predictions = read_csv(folder / f"predictions_{protocol}.csv")
    right = np.array([row["label"] == row["prediction"] for row in predictions])
    fold = np.array([int(row["fold"]) for row in predictions])
    assert right.sum() == np.trace(matrix)
    np.testing.assert_allclose([right[fold == k].mean() for k in (0, 1)], found["accuracies"])


@pytest.mark.slow
def test_only_the_folds_by_image_test_on_patients_they_have_seen(finished):
    target = finished[1]["target"]
    assert target["new-patients"]["patients_on_both_sides"] > 0
    assert target["strict"]["patients_on_both_sides"] == 0


@pytest.mark.slow
def test_what_a_leak_is_worth_and_the_rivals_are_on_the_same_images(finished):
    numbers = finished[1]
    (leak,) = numbers["leaks"]
    assert (leak["from"], leak["to"]) == ("new-patients", "strict")
    right = {name: np.trace(found["confusion_matrix"]) for name, found in numbers["target"].items()}
    assert leak["accuracy"] == pytest.approx((right["new-patients"] - right["strict"]) / 40)
    assert leak["low"] <= leak["accuracy"] <= leak["high"]
    assert set(numbers["rivals"]) == {"image", "patient"}
    rivals = numbers["rivals"]["patient"]
    assert {"class prior", "thumbnail", "border", "SVM"} <= set(rivals)
    beaten = numbers["better_than_rivals"]
    assert beaten["protocol"] == "strict"
    expected = numbers["target"]["strict"]["accuracy"] - rivals["SVM"]["accuracy"]
    # Of all images here, of folds of slightly different size there.
    assert beaten["SVM"]["accuracy"] == pytest.approx(expected, abs=0.05)
    assert beaten["SVM"]["low"] <= beaten["SVM"]["accuracy"] <= beaten["SVM"]["high"]


@pytest.mark.slow
def test_pictures_show_images_and_numbers_do_not(finished):
    folder = finished[0] / "alexnet"
    pictures = sorted((folder / "pictures").iterdir())
    assert [path.name for path in pictures] == ["gradcam.png", "hirescam.png"]
    assert not [path for path in (folder / "numbers").iterdir() if "cam" in path.name]
    for path in pictures:
        with Image.open(path) as picture:
            assert np.asarray(picture).std() > 10  # not an empty page


@pytest.mark.slow
def test_published_numbers_leave_out_pictures_and_single_images(finished, tmp_path):
    publishing.copy_numbers(finished[0], tmp_path)
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"results.json", "protocols.csv", "leaks.csv", "rivals.csv", "sources.csv"} <= names
    assert {"counts.csv", "confusion_matrix_strict.csv", "mean_heatmaps.png"} <= names
    assert (
        not {"gradcam.png", "hirescam.png", "source_patients.keras", "predictions_strict.csv"}
        & names
    )
    with pytest.raises(FileNotFoundError, match="expected the output of a run"):
        publishing.copy_numbers(tmp_path / "alexnet", tmp_path)


@pytest.mark.slow
def test_a_network_published_later_joins_the_tables_of_those_before(finished, tmp_path):
    earlier = tmp_path / "vgg16"
    earlier.mkdir()
    numbers = json.loads(json.dumps(finished[1]))
    numbers["settings"]["backbone"] = "vgg16"
    del numbers["better_than_rivals"]  # a record of before this was asked
    numbers["seconds"] = {"source nothing": 1.0}  # a stage that the later run does without
    numbers["data"]["nothing"] = numbers["data"].pop("patients")
    (earlier / "results.json").write_text(json.dumps(numbers))
    publishing.copy_numbers(finished[0], tmp_path)
    for table in ("protocols", "leaks", "sources", "seconds"):
        networks = [row["network"] for row in read_csv(tmp_path / f"{table}.csv")]
        assert sorted(set(networks)) == ["alexnet", "vgg16"]
    seconds = read_csv(tmp_path / "seconds.csv")
    assert [row["source nothing"] for row in seconds] == ["", "1.0"]
    assert seconds[1]["together"] == "1.0"
    beside = read_csv(tmp_path / "side_by_side.csv")
    assert [row["the paper reports"] for row in beside] == ["82.98 % ± 0.02", "90.13 % ± 0.14"]
    accuracy = numbers["target"]["strict"]["accuracy"]
    assert all(row["strict"].startswith(f"{accuracy:.3f} (") for row in beside)
    rival = read_csv(tmp_path / "rivals.csv")[0]
    assert [name for name in rival if name.endswith("better")] == ["alexnet, strict: points better"]
    kept_out = {row["kept out of Data-A"] for row in read_csv(tmp_path / "counts.csv")}
    assert kept_out == {"nothing", "patients"}


@pytest.mark.slow
def test_a_source_model_is_used_again_only_with_the_same_settings_and_images(
    finished, drawn, tmp_path
):
    path = finished[0] / "alexnet/source_patients.keras"
    settings = {"profile": TINY, "backbone": "alexnet"}
    again, seconds, reused = source_stage.pretrained(drawn, **settings, path=path, random_state=0)
    assert reused
    assert seconds == json.loads(path.with_suffix(".json").read_text())["seconds"]
    copy = tmp_path / path.name
    for old, new in ((path, copy), (path.with_suffix(".json"), copy.with_suffix(".json"))):
        new.write_bytes(old.read_bytes())
    other, _, reused = source_stage.pretrained(drawn, **settings, path=copy, random_state=1)
    assert not reused
    _, _, reused = source_stage.pretrained(
        drawn, **settings, path=copy, by_heart=True, random_state=1
    )
    assert not reused
    weights = zip(again.model.get_weights(), other.model.get_weights(), strict=True)
    assert any(not np.array_equal(a, b) for a, b in weights)


@pytest.mark.slow
def test_a_source_stage_that_broke_off_goes_on_and_its_time_adds_up(drawn, tmp_path, monkeypatch):
    profile = dataclasses.replace(TINY, source_epochs=3)
    settings = {"profile": profile, "backbone": "alexnet", "path": tmp_path / "source.keras"}
    tick = source_stage._Clock.on_epoch_end

    def break_off(clock, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt
        tick(clock, epoch, logs)

    monkeypatch.setattr(source_stage._Clock, "on_epoch_end", break_off)
    with pytest.raises(KeyboardInterrupt):
        source_stage.pretrained(drawn, **settings, random_state=0)
    monkeypatch.undo()
    (epochs,) = tmp_path.glob("source_epochs_*")
    spent = json.loads((epochs / "seconds.json").read_text())
    source, seconds, reused = source_stage.pretrained(drawn, **settings, random_state=0)
    assert (len(source.history["loss"]), reused) == (3, False)
    assert 0 < spent < seconds
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.json", "source.keras"]
    whole, _, _ = source_stage.pretrained(
        drawn, **settings | {"path": tmp_path / "whole.keras"}, random_state=0
    )
    assert source.history == whole.history


class Chests:
    """Stand for an estimator whose accuracy depends on its epochs."""

    def __init__(self, accuracy_by_epochs):
        self.accuracies = accuracy_by_epochs
        self.trained_on = []

    def set_params(self, **params):
        self.epochs = params.get("epochs")
        return self

    def fit(self, images, labels):
        self.trained_on.append(set(images.ravel().tolist()))
        return self

    def score(self, images, labels):
        assert not self.trained_on[-1] & set(images.ravel().tolist())
        return self.accuracies[self.epochs]


def test_epochs_are_chosen_on_an_inner_split_that_leaves_the_first_fold_alone():
    n = 100
    part = material.Part(
        images=np.arange(n).reshape(n, 1, 1, 1),
        labels=np.array(["a", "b"] * (n // 2)),
        patients=np.arange(n) // 2,
        names=np.arange(n),
        collections=np.zeros(n),
    )
    chests = Chests({50: 0.5, 100: 0.7, 200: 0.7})
    chosen = experiment.choose_epochs(
        chests, part, candidates=(200, 50, 100), n_splits=5, random_state=0
    )
    assert chosen["epochs"] == 100
    tried = {trial["epochs"]: trial["accuracy"] for trial in chosen["tried"]}
    assert tried == chests.accuracies
    (_, tested), *_ = detl.folds.stratified_folds(part.labels, groups=part.patients, random_state=0)
    assert not any(seen & set(tested.tolist()) for seen in chests.trained_on)
    only = experiment.choose_epochs(None, part, candidates=(7,), n_splits=5, random_state=0)
    assert only == {"epochs": 7, "tried": []}


def test_a_protocol_flatters_another_by_the_images_it_gets_right_alone():
    def said(predictions):
        return SimpleNamespace(
            predictions=np.array(predictions), labels=np.array(["a", "a", "b", "b"])
        )

    patients = np.array([1, 1, 2, 3])
    found = experiment.worth(said(["a", "a", "b", "a"]), said(["b", "b", "b", "b"]), patients)
    assert found["accuracy"] == (2 - 1) / 4
    assert found["low"] == -1  # only patient 3 was drawn
    assert found["high"] == 1
    same = said(["a", "b", "b", "a"])
    assert experiment.worth(same, same, patients) == {"accuracy": 0, "low": 0, "high": 0}


def test_a_leaky_protocol_of_phantoms_and_an_unknown_one_are_refused(capsys):
    with pytest.raises(SystemExit):
        command.parse(["--protocol", "strict", "paper"])
    assert "paper shares images or patients" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.parse(["--protocol", "stricter"])
    assert "stricter" in capsys.readouterr().err
    assert command.parse([]).protocol == ["new-patients", "strict"]


def test_patients_on_both_sides_are_counted():
    patients = np.array(["a", "a", "b", "c", "c", "d"])
    halves = (np.array([0, 2, 3, 4]), np.array([1, 5]))
    found = experiment.both_sides([halves, halves[::-1]], patients)
    assert found["patients_on_both_sides"] == 1
    assert found["patients"] == 4
    assert found["test_images_of_known_patients"] == 2  # image 1, then image 0
    assert found["share_of_test_images"] == pytest.approx(2 / 6)


@pytest.mark.slow
def test_both_kinds_of_heatmap_are_those_asked_for_by_hand(finished, drawn):
    source = detl.load_source(finished[0] / "alexnet/source_patients.keras")
    transfer = detl.DomainExtensionTransfer(source, epochs=1, random_state=3)
    target = drawn.target
    result = detl.cross_validate(
        transfer, target.images, target.labels, groups=target.patients, n_splits=2, random_state=3
    )
    found = heatmaps.explain(transfer, result, target)
    train, test = result.indices[0]
    transfer.set_params(random_state=result.fold_seeds[0])
    network = transfer.fit(target.images[train], target.labels[train]).model_
    classes = transfer.classes_.tolist()
    normal, covid = classes.index("normal"), classes.index("covid-19")
    here = np.flatnonzero(target.labels[test] == "covid-19")
    images = target.images[test[here]]
    coarse = detl.GradCAM(network)(images, target_class=covid)
    np.testing.assert_allclose(found["gradcam"].heatmaps[here], coarse, atol=1e-4)
    fine = detl.GradCAM(network, layer="block3_conv_relu", method="hirescam")(
        images, target_class=lambda logits: logits[:, covid] - logits[:, normal]
    )
    np.testing.assert_allclose(found["hirescam"].heatmaps[here], fine, atol=1e-4)
    np.testing.assert_array_equal(
        found["hirescam"].predictions, transfer.predict(target.images[test])
    )


def test_the_three_parts_of_the_phantoms_share_no_patient(drawn):
    parts = [set(part.patients) for part in (drawn.train, drawn.validation, drawn.target)]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


@pytest.fixture
def radiographs(tmp_path):
    """Write phantoms as the owners of radiographs publish theirs, and return the arguments."""
    nih, covid = tmp_path / "nih", tmp_path / "covid"
    findings = {"normal": "No Finding", "other": "Mass", "pneumonia": "Pneumonia"}
    numbers = {"normal": 360, "other": 60, "pneumonia": 6, "covid-19": 6}
    chests = make_phantoms(numbers, size=32, random_state=0)
    tables = {nih: [], covid: []}
    for folder in tables:
        (folder / "images").mkdir(parents=True)
    for i, (image, label) in enumerate(zip(chests.images, chests.labels, strict=True)):
        folder = covid if label == "covid-19" else nih
        Image.fromarray(image[..., 0]).save(folder / f"images/{i:08d}_000.png")
        tables[folder].append((f"{i:08d}_000.png", findings.get(label, "COVID-19"), str(i + 1)))
    with (nih / "Data_Entry_2017.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("Image Index", "Finding Labels", "Patient ID"), *tables[nih]])
    with (covid / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("filename", "finding", "patientid", "view", "modality"),
                *((*row, "PA", "X-ray") for row in tables[covid]),
            ]
        )
    return [
        *("--nih", str(nih), "--nih-images", str(nih / "images")),
        *("--covid", str(covid), "--covid-images", str(covid / "images")),
    ]


@pytest.mark.slow
def test_the_command_reads_radiographs_and_runs_to_the_end(radiographs, tmp_path, capsys):
    output = tmp_path / "output"
    command.main(
        [
            *radiographs,
            *(
                "--profile",
                "laptop",
                "--backbone",
                "alexnet",
                "--size",
                "64",
                "--width",
                "0.03",
                "--precision",
                "float32",
            ),
            *("--source-epochs", "1", "--target-epochs", "1", "--protocol", "paper"),
            *("strict", "paper-by-heart", "--by-heart-epochs", "1"),
            *("--output", str(output), "--no-mirroring"),
        ]
    )
    printed = capsys.readouterr().out
    assert ["Data-B", "pneumonia", "322", "6"] in [line.split()[:4] for line in printed.split("\n")]
    assert "Not for clinical use" in printed
    numbers = json.loads((output / "alexnet/numbers/results.json").read_text())
    data = numbers["data"]["patients"]
    images = {row["class"]: row["images"] for row in data["counts"] if "B" in row["set"]}
    assert images == {"normal": 350, "pneumonia": 6, "other": 50, "covid-19": 6}
    assert data["target_images_known_to_the_source_model"]["images"] == 0
    leaky = numbers["data"]["nothing"]
    assert leaky["target_images_known_to_the_source_model"]["images"] == 400
    assert set(numbers["source"]) == {"nothing", "patients", "nothing-by-heart"}
    assert numbers["settings"]["profile"]["mirroring"] is False
    assert numbers["gradcam"]["attention"] is None
    assert np.sum(numbers["target"]["strict"]["confusion_matrix"]) == 412


def test_radiographs_without_their_folders_are_refused_by_name(capsys, tmp_path):
    with pytest.raises(SystemExit):
        command.parse(["--profile", "laptop", "--nih", str(tmp_path)])
    assert "needs --nih-images, --covid, --covid-images" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=r"none of Data_Entry_2017\.csv"):
        material.from_radiographs(
            nih=tmp_path,
            nih_images=[tmp_path],
            covid=tmp_path,
            covid_images=[tmp_path],
            size=32,
            random_state=0,
        )


def test_the_papers_profile_is_the_papers():
    paper = PROFILES["paper"]
    assert (paper.size, paper.width, paper.source_epochs, paper.n_splits) == (224, 1.0, 100, 5)
    assert (paper.source_learning_rate, paper.target_learning_rate) == (1e-3, 1e-4)
    assert paper.mirroring
    assert paper.class_weight is None
