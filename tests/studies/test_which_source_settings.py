import dataclasses

import numpy as np
import pytest

import detl
from examples.covid_chest_xray import material
from studies.shared.source_settings import AUGMENTATION, STRONGER, VARIANTS, Variant
from studies.which_source_settings import run as source_tuning

PLAIN = Variant(
    backbone="alexnet",
    width=0.125,
    epochs=2,
    batch_size=8,
    rotation=0.0,
    scaling=0.0,
    precision="float32",
)


def part(n, seed):
    generator = np.random.default_rng(seed)
    labels = np.array(["diseased", "normal", "normal"] * (n // 3))
    images = generator.integers(0, 120, (n, 57, 57, 1)).astype("uint8")
    images[labels == "diseased", 16:40, 16:40] += 100
    return material.Part(
        images=images,
        labels=labels,
        patients=np.array([f"{seed}-{i // 3}" for i in range(n)]),
        names=np.arange(n).astype(str),
        collections=np.full(n, "drawn"),
    )


@pytest.fixture(scope="module")
def data():
    return {name: part(n, n) for name, n in (("train", 36), ("validation", 24), ("check", 18))}


@pytest.mark.slow
def test_a_variant_without_trial_levers_trains_as_pretrain_does(data):
    source = detl.pretrain(
        detl.backbones.alexnet((57, 57, 1), width=PLAIN.width),
        data["train"].images,
        data["train"].labels,
        validation_data=(data["validation"].images, data["validation"].labels),
        epochs=PLAIN.epochs,
        batch_size=PLAIN.batch_size,
        learning_rate=PLAIN.learning_rate,
        augmentation=None,
        class_weight="balanced",
        random_state=PLAIN.seed,
        verbose=0,
    )
    _, _, history = source_tuning.train(PLAIN, data, verbose=0)
    # Rounding decides what follows: there are 36 images, and Adam's first steps are signs.
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(history[name][0], source.history[name][0], rtol=1e-3)


@pytest.mark.slow
def test_a_run_keeps_the_epoch_of_the_best_auc_and_a_file_that_pretrain_could_have_written(
    data, tmp_path
):
    row = source_tuning.run("tried", PLAIN, data, tmp_path, verbose=0)
    assert row["images"] == 36
    assert row["changed"] == "batch_size=8; rotation=0.0; scaling=0.0; precision=float32"
    kept = np.load(tmp_path / "tried.npz")
    diseased = data["validation"].labels == "diseased"
    by_epoch = [
        source_tuning.roc_auc_score(diseased, found) for found in kept["validation average"]
    ]
    assert row["average: epoch"] == int(np.argmax(by_epoch)) + 1
    assert row["average: validation AUC"] == f"{max(by_epoch):.3f}"
    source = detl.load_source(tmp_path / "tried.keras")
    np.testing.assert_allclose(
        np.asarray(source.model(data["check"].images.astype("float32")))[:, 0],
        kept["check average"],
        atol=1e-5,
    )


def test_a_variants_amounts_are_those_of_its_augmentation(data, monkeypatch):
    stronger = VARIANTS["stronger augmentation"]
    variant = dataclasses.replace(PLAIN, **{n: getattr(stronger, n) for n in AUGMENTATION})
    given = {}

    def stop(*_, **options):
        given.update(options)
        raise InterruptedError

    monkeypatch.setattr(source_tuning, "training_batches", stop)
    with pytest.raises(InterruptedError):
        source_tuning.train(variant, data, verbose=0)
    images = data["train"].images
    found = given["augment"](images, np.random.default_rng(0))
    expected = detl.Augmentation(mirroring=False, **STRONGER)
    np.testing.assert_array_equal(
        found, expected(images.astype("float32"), np.random.default_rng(0))
    )


def test_a_finished_run_is_not_run_again(tmp_path):
    assert source_tuning.finished(tmp_path / "none.csv") == set()
    (tmp_path / "some.csv").write_text('run,seed\nbaseline,0\n"further, too",0\n')
    assert source_tuning.finished(tmp_path / "some.csv") == {"baseline", "further, too"}
