"""Several classifiers on the same folds as one: the mean of what they say, and what is refused."""

import dataclasses

import numpy as np
import pytest
from sklearn.ensemble import VotingClassifier

from detl import (
    CrossValidationResult,
    DomainExtensionTransfer,
    average_results,
    backbones,
    compare_results,
    cross_validate,
    folds,
    plots,
    shortcuts,
)
from detl.storage.digests import array_digest

LABELS = np.array(["covid", "normal", "other"])[np.arange(60) % 3]
GROUPS = np.arange(60) // 2
INDICES = folds.stratified_folds(LABELS, groups=GROUPS, n_splits=3, random_state=0)
OTHER_TRAINING = [(train[1:], test) for train, test in INDICES]


@pytest.fixture
def one(make_result):
    """Return a function that makes a result from a seed, with settings of its own."""

    def make(seed, *, labels=LABELS, groups=GROUPS, indices=INDICES, images="digest"):
        rng = np.random.default_rng(seed)
        said = [rng.dirichlet([1, 1, 1], len(test)).astype("float32") for _, test in indices]
        result = make_result(labels, groups=groups, indices=indices, probabilities=said)
        settings = {
            "transfer": {"epochs": seed},
            "source": f"source {seed}",
            "precision": "float32",
            "images": images,
            "labels": "l",
            "groups": "g",
            "folds": "f",
            "fold_seeds": [seed],
            "interval_seed": seed,
        }
        return dataclasses.replace(result, settings=settings)

    return make


def test_probabilities_are_the_mean_fold_by_fold(one):
    parts = [one(seed) for seed in range(3)]
    average = average_results(parts)
    for number, (train, test) in enumerate(INDICES):
        expected = np.mean([part.folds[number].probabilities for part in parts], axis=0)
        fold = average.folds[number]
        np.testing.assert_allclose(fold.probabilities, expected, rtol=1e-6)
        assert fold.probabilities.dtype == np.float32
        np.testing.assert_array_equal(fold.train, train)
        np.testing.assert_array_equal(fold.test, test)
    for part in parts:
        assert not np.array_equal(average.probabilities, part.probabilities)


def test_where_all_parts_decide_alike_so_does_the_average(one):
    def decided(seed, decisions):
        part = one(seed)
        folds = tuple(
            dataclasses.replace(fold, decisions=np.full(len(fold.test), decisions))
            for fold in part.folds
        )
        return dataclasses.replace(part, folds=folds)

    alike = average_results([decided(0, 2), decided(1, 2)])
    assert set(alike.predictions) == {"other"}
    unlike = average_results([decided(0, 2), decided(1, 1)])
    expected = unlike.classes[unlike.probabilities.argmax(axis=1)]
    np.testing.assert_array_equal(unlike.predictions, expected)


def test_a_result_given_twice_counts_twice(one):
    a, b = one(0), one(1)
    expected = (2 * a.probabilities + b.probabilities) / 3
    np.testing.assert_allclose(average_results([a, b, a]).probabilities, expected, rtol=1e-6)


def test_the_average_of_one_is_itself(one):
    alone = average_results([one(0)])
    np.testing.assert_array_equal(alone.probabilities, one(0).probabilities)
    assert alone.scores["accuracy"] == one(0).scores["accuracy"]


def test_settings_keep_what_is_shared_and_name_the_parts(one):
    parts = [one(0), one(1)]
    settings = average_results(parts).settings
    assert settings["precision"] == "float32"
    assert "source" not in settings
    assert settings["interval_seed"] == 0
    assert settings["fold_seeds"] == [0]
    assert settings["transfer"] == {"average_of": [part.settings for part in parts]}


def test_seconds_are_summed_and_no_history_or_start_is_claimed(one):
    average = average_results([one(0), one(1)])
    assert average.seconds == {"features": 0.2, "total": 5.0}
    assert [fold.seconds for fold in average.folds] == [3.0] * 3
    assert {fold.start for fold in average.folds} == {""}
    assert average.histories == [{}] * 3
    with pytest.raises(ValueError, match="no histories"):
        plots.learning_curves(average)


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_an_average_is_as_leaky_as_its_leakiest_part(one, order):
    audits = [folds.audit(INDICES, LABELS, groups=GROUPS, source_groups=of) for of in ([99], [3])]
    parts = [dataclasses.replace(one(k), audit=audit) for k, audit in enumerate(audits)]
    average = average_results(parts[order])
    assert average.audit.source_shared_groups == (3,)
    assert average.audit.leaks == audits[1].leaks
    assert "LEAKS" in str(average)


def test_leaks_of_all_parts_are_kept_once(one):
    audits = [folds.audit(INDICES, LABELS, groups=GROUPS, source_groups=of) for of in ([3], [4, 5])]
    parts = [
        dataclasses.replace(one(k), audit=audits[number]) for k, number in enumerate([0, 1, 0])
    ]
    assert set(average_results(parts).audit.leaks) == {*audits[0].leaks, *audits[1].leaks}
    assert len(average_results(parts).audit.leaks) == 2


def test_the_versions_of_all_parts_are_listed(one):
    parts = [dataclasses.replace(one(k), versions={"keras": f"3.{15 + k}"}) for k in (0, 1, 0)]
    assert average_results(parts).versions == {"keras": "3.15, 3.16"}


def test_the_average_is_saved_printed_and_compared_like_any_result(one, tmp_path):
    parts = [one(0), one(1)]
    average = average_results(parts)
    again = CrossValidationResult.load(average.save(tmp_path / "average.json"))
    np.testing.assert_array_equal(again.probabilities, average.probabilities)
    assert again.settings == average.settings
    assert str(again) == str(average)
    difference = compare_results({"average": average, "first": parts[0]}).differences[0]
    assert difference.mean == pytest.approx(
        np.mean(average.accuracies - parts[0].accuracies), abs=1e-12
    )


def test_voting_of_scikit_learn_is_what_trains_the_average(tiny_backbone, tiny_images, tiny_labels):
    images, labels = tiny_images, tiny_labels
    classifiers = {
        name: DomainExtensionTransfer(tiny_backbone, epochs=1, trainable_from=name, random_state=0)
        for name in ("block1", "logits")
    }
    results = [
        cross_validate(transfer, images, labels, n_splits=2, random_state=0, verbose=0)
        for transfer in classifiers.values()
    ]
    average = average_results(results)
    fold = average.folds[0]
    seeded = [(name, one.set_params(random_state=fold.seed)) for name, one in classifiers.items()]
    voting = VotingClassifier(seeded, voting="soft").fit(images[fold.train], labels[fold.train])
    np.testing.assert_allclose(
        voting.predict_proba(images[fold.test]), fold.probabilities, atol=1e-5
    )


def test_rivals_can_be_tried_on_the_folds_of_an_average(one):
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 1), dtype="uint8")
    average = average_results([one(seed, images=array_digest(images)) for seed in range(2)])
    test = shortcuts.baseline_test(average, images)
    for rival in test.results.values():
        assert [fold.test.tolist() for fold in rival.folds] == [t.tolist() for _, t in INDICES]


# ---------------------------------------------------------------------------- refused input


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"labels": np.roll(LABELS, 1)}, r"results\[1\] has other labels"),
        ({"groups": None}, r"results\[1\] has other groups"),
        ({"groups": GROUPS + 1}, r"results\[1\] has other groups"),
        ({"images": "other digest"}, r"results\[1\] is of other images"),
        ({"indices": INDICES[:2]}, r"results\[1\] has other folds .* same random_state"),
        ({"indices": OTHER_TRAINING}, r"results\[1\] has other folds"),
        ({"indices": INDICES[::-1]}, r"results\[1\] has other folds .* judge images that the"),
    ],
)
def test_results_that_cannot_be_averaged_are_refused(one, other, message):
    with pytest.raises(ValueError, match=message):
        average_results([one(0), one(1, **other)])


def test_no_results_are_refused():
    with pytest.raises(ValueError, match="results is empty"):
        average_results([])


def test_something_else_than_results_is_refused(one):
    with pytest.raises(TypeError, match="results is a dict; expected a list"):
        average_results({"a": one(0)})
    with pytest.raises(TypeError, match="results is a ndarray; expected a list"):
        average_results(np.array(5))
    with pytest.raises(TypeError, match=r"results\[1\] is a int; expected results of Cross"):
        average_results([one(0), 5])
    with pytest.raises(TypeError, match="results is a CrossValidationResult; expected a list"):
        average_results(one(0))


def test_a_shortcut_test_that_would_train_an_average_anew_is_refused(one):
    images = np.zeros((60, 64, 64, 1), "uint8")
    average = average_results([one(seed, images=array_digest(images)) for seed in range(2)])
    transfer = DomainExtensionTransfer(backbones.alexnet((64, 64, 1), width=0.125))
    with pytest.raises(ValueError, match="the result is an average or belongs to another kind"):
        shortcuts.region_test(average, transfer, images, region=(0.2, 0.2, 0.6, 0.6))
