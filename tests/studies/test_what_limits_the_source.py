import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import detl
from examples.covid_chest_xray import material, tables
from studies.shared.features import thumbnails
from studies.what_limits_the_source import run as source_limits

FINDINGS = {"a": "No Finding", "b": "Effusion", "c": "Mass|Effusion", "d": "Mass"}
KNOWN = {
    name: {
        "Finding Labels": labels,
        "View Position": "AP" if name in "bc" else "PA",
        "Patient Age": "057Y" if name == "a" else "31",
        "Patient Gender": "M" if name == "a" else "F",
        "Follow-up #": "3",
    }
    for name, labels in FINDINGS.items()
}


def part(names, seed=0):
    return material.Part(
        images=np.random.default_rng(seed).integers(0, 255, (len(names), 64, 64, 1), "uint8"),
        labels=np.where(np.array(list(names)) == "a", "normal", "diseased"),
        patients=np.arange(len(names)).astype(str),
        names=np.array([f"{name}.jpg" for name in names]),
        collections=np.full(len(names), "drawn"),
    )


def test_facts_are_read_from_the_table_by_the_images_name():
    found = source_limits.facts(part("ab"), KNOWN, ("view", "age", "sex", "follow-up"))
    np.testing.assert_array_equal(found, [[0, 57, 1, 3], [1, 31, 0, 3]])


def test_a_thumbnail_is_the_mean_of_tiles():
    images = part("ab").images
    found = thumbnails(images)
    assert found.shape == (2, 1024)
    assert found[1, 33] == images[1, 2:4, 2:4].mean()


def test_regression_finds_what_is_in_the_rows_and_judges_parts_it_has_not_seen():
    data = {name: part("abacadab" * 5) for name in ("train", "validation", "check")}
    rows = {name: (p.labels == "diseased")[:, None].astype(float) for name, p in data.items()}
    rows["check"] = 1 - rows["check"]
    found = source_limits.regression(rows, data, strength=1.0)
    row = source_limits.scored("told", found, data)
    assert row["validation AUC"] == "1.000 (1.000 to 1.000)"
    assert row["check AUC"] == "0.000 (0.000 to 0.000)"


def test_features_of_blocks_tell_what_a_regression_can_learn_from_them():
    pixels = keras.Input((64, 64, 1))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    for seed, block in enumerate(source_limits.FEATURES):
        start = keras.initializers.HeNormal(seed=seed)
        x = keras.layers.Conv2D(
            8, 3, 2, padding="same", kernel_initializer=start, name=f"{block}_conv"
        )(x)
        x = keras.layers.ReLU(name=f"{block}_relu")(x)
    network = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x))
    data = {
        name: part("ab" * 10, seed) for seed, name in enumerate(("train", "validation", "check"))
    }
    for of in data.values():
        of.images[of.labels == "diseased"] //= 8
    found = source_limits.on_features(network, data)
    one = detl.FeatureExtractor(network, layers="block4", grid=2)
    rows = {name: one.fit_transform(of.images) for name, of in data.items()}
    alone = source_limits.regression(rows, data, strength=1e-3)
    (of_block_4,) = (predictions for name, predictions in found.items() if "block4" in name)
    for name, p in alone.items():
        np.testing.assert_allclose(of_block_4[name], p, rtol=1e-4)
    assert [name.rsplit(" ", 1)[1] for name in found] == list(source_limits.FEATURES)
    for predictions in found.values():
        for name, p in predictions.items():
            assert roc_auc_score(data[name].labels == "diseased", p) > 0.95


def test_networks_are_averaged_part_by_part():
    networks = [
        {"validation": np.array([0, 1.0]), "check": np.array([1.0])},
        {"validation": np.array([1, 1.0]), "check": np.array([0.5])},
    ]
    found = source_limits.averaged(networks)
    assert {part: p.tolist() for part, p in found.items()} == {
        "validation": [0.5, 1],
        "check": [0.75],
    }


def test_each_finding_is_told_from_normal_alone_and_few_images_say_nothing():
    names = "a" * 12 + "b" * 12 + "c" * 3 + "d" * 3
    data = {name: part(names) for name in ("validation", "check")}
    p = np.array([{"a": 0.5, "b": 0.9, "c": 0.9, "d": 0.1}[name] for name in names])
    rows = source_limits.by_finding({"net": {"validation": p, "check": p}}, data, KNOWN)
    by_name = {row["finding"]: row for row in rows}
    assert by_name["Effusion"]["check images"] == "15"
    assert by_name["Effusion"]["net: check AUC"] == "1.000 (1.000 to 1.000)"
    assert by_name["Mass"]["net: check AUC"] == "too few"
    assert "Hernia" not in by_name
    overall = float(by_name["all findings"]["net: check AUC"].split()[0])
    assert overall == pytest.approx(15 / 18, abs=1e-3)


def test_a_run_is_paired_with_the_baseline_of_its_network(tmp_path):
    data = {name: part("ab" * 20) for name in ("validation", "check")}
    knows = (data["check"].labels == "diseased").astype(float)
    guesses = np.random.default_rng(0).random(40)

    def keep(name, p):
        # Of two epochs, the one of the better validation AUC is taken.
        both = {"validation average": np.stack([1 - knows, p]), "check average": p}
        np.savez(tmp_path / f"{name}.npz", **both)

    keep("baseline", guesses)
    keep("mirrored", knows)
    keep("resnet50", knows)
    keep("resnet50__mirrored", knows)
    found = source_limits.differences("mirrored", tmp_path, data)["check: more than the baseline"]
    value, low = found.split()[0], found.split()[1].strip("(")
    assert float(value) == pytest.approx(1 - roc_auc_score(knows, guesses), abs=1e-3)
    assert 0 < float(low) < float(value)
    same = source_limits.differences("resnet50, mirrored", tmp_path, data)
    assert set(same.values()) == {"+0.000 (+0.000 to +0.000)"}
    assert set(source_limits.differences("resnet50", tmp_path, data).values()) == {""}


def test_rules_are_compared_with_the_epoch_of_the_best_accuracy():
    aucs = {"accuracy": (0.6, 0.5), "AUC": (0.7, 0.4), "last": (0.6, 0.6), "average": (0.7, 0.7)}
    runs = [{f"{rule}: check AUC": str(two[k]) for rule, two in aucs.items()} for k in (0, 1)]
    rows = source_limits.rules(runs)
    assert [row["check AUC, mean"] for row in rows] == ["0.550", "0.550", "0.600", "0.700"]
    assert [row["more than the first row, mean"] for row in rows][1:] == [
        "+0.000",
        "+0.050",
        "+0.150",
    ]
    assert [row["better / worse in"] for row in rows] == [
        f"{some} runs" for some in ("0 / 0", "1 / 1", "1 / 0", "2 / 0")
    ]
    assert rows[1]["least to most"] == "-0.100 to +0.100"


def test_drawing_patients_of_few_images_leaves_more_to_the_source():
    # A hundred patients with a single normal image, and as many with nine diseased ones besides.
    patients = np.concatenate([np.arange(100), np.repeat(np.arange(100, 500), 10)]).astype(str)
    labels = np.concatenate([["No Finding"] * 100, np.tile(["No Finding"] + ["Hernia"] * 9, 400)])
    records = tables.Records(
        paths=np.arange(len(labels)),
        labels=labels,
        patients=patients,
        sources=np.full(len(labels), "nih"),
    )
    by_chance, few_first = source_limits.draws(records)
    assert by_chance["patients in Data-B"] == few_first["patients in Data-B"] == "350"
    assert few_first["diseased left for Data-A"] == str(9 * (400 - 250))
    assert few_first["normal left for Data-A"] == by_chance["normal left for Data-A"] == "150"
    assert int(by_chance["diseased left for Data-A"]) < 9 * (400 - 250)
