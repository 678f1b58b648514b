"""A fitted transfer comes back from its file, and nothing else does."""

import json
import os
import pickle
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import detl
from detl import DomainExtensionTransfer, FeatureExtractor, GradCAM, SourceModel, backbones
from detl.networks.digests import weights_digest
from detl.pretraining.augmentation import Augmentation
from detl.storage.seals import is_sealed
from tests.archives import rewritten

SHAPE = (64, 64, 1)
LABELS = ["lung", "heart", "bone"] * 4
PATIENTS = [f"patient {row // 3}" for row in range(12)]
SETTINGS = {
    "trainable_from": "block5",
    "epochs": 1,
    "batch_size": 5,
    "learning_rate": 0.02,
    "schedule": "constant",
    "head_start": "random",
    "head_learning_rate": np.float32(0.25),
    "momentum": 0.3,
    "label_smoothing": 0.2,
    "class_weight": {"lung": 1, "heart": np.float64(2), "bone": 3},
    "augmented_views": np.int64(1),
    "augmentation": Augmentation(rotation=3.0, mirroring=False),
    "validation_split": 0.25,
    "early_stopping": 4,
    "precision": "float32",
    "random_state": np.int64(9),
    "verbose": 1,
}


@pytest.fixture(scope="module")
def images():
    images = np.random.default_rng(0).integers(0, 256, (len(LABELS), *SHAPE)).astype("uint8")
    images.flags.writeable = False
    return images


@pytest.fixture(scope="module")
def source():
    network = backbones.alexnet(SHAPE, width=0.125)
    head = layers.Dense(2, activation="softmax", name="healthy_or_not")(network.output)
    return keras.Model(network.input, head)


@pytest.fixture(scope="module")
def fitted(source, images):
    """Return a transfer of settings other than the defaults; tests must leave it as it is."""
    return DomainExtensionTransfer(source, **SETTINGS).fit(images, LABELS, groups=PATIENTS)


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    return fitted.save(tmp_path_factory.mktemp("models") / "deeper" / "covid.keras")


@pytest.fixture(scope="module")
def tiny(tiny_backbone, tiny_images):
    return quick(tiny_backbone).fit(tiny_images[:12], LABELS)


@pytest.fixture
def path(tiny, tmp_path):
    """Return the file of a tiny transfer, to be damaged."""
    return tiny.save(tmp_path / "covid.keras")


def quick(source, **changes):
    return DomainExtensionTransfer(source, **{"epochs": 1, "random_state": 0, **changes})


def assert_equal_arrays(one, other):
    np.testing.assert_array_equal(one, other)
    assert one.dtype == other.dtype


# ------------------------------------------------------------------------------- what comes back


@pytest.mark.parametrize(
    "labels",
    [
        ["lung", "heart"] * 6,
        ["ä", "字", "b c"] * 4,
        [7, -2, 40] * 4,
        np.array([1, 0] * 6, dtype="uint8"),
        [True, False] * 6,
        [1.0, 2.0] * 6,
        np.array(["lung", "heart", "bone"] * 4, dtype=object),
    ],
    ids=["two", "three", "int", "uint8", "bool", "float", "object"],
)
def test_a_loaded_transfer_predicts_the_same_to_the_last_bit(source, images, tmp_path, labels):
    fitted = quick(source).fit(images, labels)
    loaded = detl.load(fitted.save(tmp_path / "covid.keras"))
    assert_equal_arrays(loaded.predict_proba(images), fitted.predict_proba(images))
    assert loaded.classes_.dtype.kind == fitted.classes_.dtype.kind
    assert loaded.classes_.tolist() == fitted.classes_.tolist()
    np.testing.assert_array_equal(loaded.predict(images), fitted.predict(images))
    assert loaded.score(images, labels) == fitted.score(images, labels)


def test_half_precision_comes_back(source, images, tmp_path):
    fitted = quick(source, precision="mixed_bfloat16").fit(images, LABELS)
    loaded = detl.load(fitted.save(tmp_path / "covid.keras"))
    assert_equal_arrays(loaded.predict_proba(images), fitted.predict_proba(images))
    assert loaded.model_.get_layer("block1_conv").compute_dtype == "bfloat16"


def test_settings_and_what_was_learned_come_back(fitted, saved):
    loaded = detl.load(str(saved))
    assert type(loaded) is DomainExtensionTransfer
    assert saved.parent.name == "deeper"
    assert list(saved.parent.iterdir()) == [saved]
    assert loaded.get_params() == {
        **SETTINGS,
        "source": None,
        "callbacks": None,
        "cache_dir": None,
    }
    assert loaded.history_ == fitted.history_
    assert loaded.trained_layers_ == fitted.trained_layers_
    assert loaded.n_features_in_ == 64
    assert weights_digest(loaded.model_) == weights_digest(fitted.model_)
    assert vars(loaded).keys() == vars(fitted).keys()


def test_what_it_was_trained_on_comes_back(fitted, saved):
    found, expected = detl.load(saved).training_, fitted.training_
    assert_equal_arrays(found.image_digests, expected.image_digests)
    assert_equal_arrays(found.class_counts, expected.class_counts)
    assert found.groups == expected.groups == tuple(sorted(set(PATIENTS)))
    assert len(found.source_digest) == 64
    assert found.versions == expected.versions


def test_a_training_that_diverged_is_saved_too(tiny_backbone, tiny_images, tmp_path):
    diverged = quick(tiny_backbone).fit(tiny_images[:12], LABELS)
    diverged.history_["loss"] = [float("nan")]
    loaded = detl.load(diverged.save(tmp_path / "covid.keras"))
    assert np.isnan(loaded.history_["loss"]).tolist() == [True]


def test_its_heatmaps_are_those_of_before(fitted, saved, images):
    loaded = detl.load(saved)
    np.testing.assert_array_equal(
        GradCAM(loaded)(images[:4], "heart"), GradCAM(fitted)(images[:4], "heart")
    )


def test_its_features_are_those_of_before(fitted, saved, images):
    found, expected = (
        FeatureExtractor(transfer.model_, layers="block3").fit_transform(images)
        for transfer in (detl.load(saved), fitted)
    )
    np.testing.assert_array_equal(found, expected)


def test_it_is_pickled_and_saved_again_as_it_is(saved, images, tmp_path):
    loaded = detl.load(saved)
    again = detl.load(loaded.save(tmp_path / "again.keras"))
    for copy in (pickle.loads(pickle.dumps(loaded)), again):
        assert_equal_arrays(copy.predict_proba(images), loaded.predict_proba(images))
        assert_equal_arrays(copy.training_.image_digests, loaded.training_.image_digests)
        assert copy.get_params() == loaded.get_params()


def test_keras_itself_reads_the_file(fitted, saved, images):
    model = keras.saving.load_model(saved)
    np.testing.assert_array_equal(
        model.predict_on_batch(images), fitted.model_.predict_on_batch(images)
    )


@pytest.mark.slow
def test_a_new_process_loads_it(fitted, saved, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    code = """
        import sys
        import numpy as np
        import detl

        file, folder = sys.argv[1:]
        loaded = detl.load(file)
        np.save(f"{folder}/out.npy", loaded.predict_proba(np.load(f"{folder}/images.npy")))
        print(*loaded.classes_)
    """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(saved), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert finished.stdout.split() == ["bone", "heart", "lung"]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), fitted.predict_proba(images))


def test_files_are_written_and_read_without_moving_the_global_seed(tiny, tmp_path):
    random.seed(5)
    detl.load(tiny.save(tmp_path / "covid.keras"))
    assert random.random() == random.Random(5).random()


def test_the_same_function_reads_a_source(tiny_source, tmp_path):
    loaded = detl.load(tiny_source.save(tmp_path / "source.keras"))
    assert type(loaded) is SourceModel
    assert weights_digest(loaded.model) == weights_digest(tiny_source.model)
    assert loaded.history == tiny_source.history
    before = Path(__file__).parents[1] / "data" / "before" / "source.keras"  # does not say its kind
    assert detl.load(before).classes.tolist() == ["bright", "dim"]


# ------------------------------------------------------------------------- training what is loaded


def test_a_loaded_transfer_is_not_trained_without_a_source(saved, images):
    loaded = detl.load(saved)
    before = weights_digest(loaded.model_)
    for transfer in (loaded, clone(loaded)):
        with pytest.raises(TypeError, match="A loaded transfer has none: train it again with se"):
            transfer.fit(images, LABELS)
    with pytest.raises(TypeError, match="A loaded transfer has none"):
        detl.cross_validate(loaded, images, LABELS, n_splits=2, random_state=0)
    assert weights_digest(loaded.model_) == before


def test_with_its_source_it_is_trained_to_the_same_weights(fitted, saved, source, images, tmp_path):
    loaded = detl.load(saved).set_params(source=source, verbose=0)
    again = loaded.fit(images, LABELS, groups=PATIENTS)
    assert weights_digest(again.model_) == weights_digest(fitted.model_)
    saved_again = detl.load(again.save(tmp_path / "again.keras"))
    assert saved_again.training_.source_digest == detl.load(saved).training_.source_digest
    copied = detl.load(saved_again.save(tmp_path / "copied.keras"))  # without its source
    assert copied.training_.source_digest == saved_again.training_.source_digest


def test_its_network_is_extended_further(saved, images):
    network = detl.load(saved).model_
    further = quick(network).fit(images, ["a", "b"] * 6)
    for layer in network.layers:
        if layer.name not in (*further.trained_layers_, "logits"):
            assert weights_digest(layer) == weights_digest(further.model_.get_layer(layer.name))


def test_a_file_of_a_transfer_is_no_source(saved, images):
    said = r"covid\.keras is a fitted transfer, not a source: detl\.load reads it, and DomainExtens"
    with pytest.raises(ValueError, match=said):
        detl.load_source(saved)
    with pytest.raises(ValueError, match=said):
        quick(saved).fit(images, LABELS)


# --------------------------------------------------------------------------- what cannot be saved


def test_a_transfer_that_is_not_fitted_is_not_saved(source, tmp_path):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        quick(source).save(tmp_path / "covid.keras")
    assert not list(tmp_path.iterdir())


def test_a_path_that_cannot_be_written_is_refused(tiny, tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(ValueError, match=r"covid\.h5'; expected a file name that ends in \.keras"):
        tiny.save(tmp_path / "covid.h5")
    with pytest.raises(TypeError, match=r"path is int 3; expected the path of a \.keras file"):
        tiny.save(3)
    with pytest.raises(OSError, match="file'"):
        tiny.save(tmp_path / "file" / "covid.keras")
    with pytest.raises(OSError, match=r"folder\.keras'"):
        tiny.save(tmp_path / "folder.keras")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.keras"]


def test_a_full_disk_leaves_the_file_of_before(tiny, path, full_disk):
    before = path.read_bytes()
    with full_disk(), pytest.raises(OSError, match="No space left"):
        tiny.save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_settings_that_cannot_be_written_are_warned_of(source, images, tmp_path):
    class Stronger(Augmentation):
        pass

    fitted = quick(
        source,
        augmented_views=1,
        augmentation=Stronger(),
        callbacks=[keras.callbacks.TerminateOnNaN()],
        random_state=np.random.default_rng(0),
        cache_dir=tmp_path / "features",
    ).fit(images, LABELS)
    with pytest.warns(UserWarning, match="not have augmentation and callbacks and random_state of"):
        path = fitted.save(tmp_path / "covid.keras")
    loaded = detl.load(path)
    assert_equal_arrays(loaded.predict_proba(images), fitted.predict_proba(images))
    assert loaded.augmented_views == 1
    names = ("augmentation", "callbacks", "random_state", "cache_dir")
    assert [getattr(loaded, name) for name in names] == [None] * 4
    assert str(tmp_path) not in path.read_bytes().decode("latin-1")


def test_settings_that_could_not_be_read_back_are_refused_before_anything_is_written(
    path, tmp_path
):
    changed = detl.load(path).set_params(learning_rate=-1)
    with pytest.raises(ValueError, match="learning_rate=-1; expected a number above 0"):
        changed.save(tmp_path / "changed.keras")
    assert list(tmp_path.iterdir()) == [path]


def test_a_lambda_is_not_loaded_from_a_file_and_saving_says_so(images, tmp_path):
    pixels = keras.Input(SHAPE)
    x = layers.Lambda(lambda x: keras.ops.abs(x) / 255, name="own")(pixels)
    x = layers.Conv2D(2, 3)(x)
    network = keras.Model(pixels, layers.GlobalAveragePooling2D()(x))
    fitted = quick(network).fit(images, LABELS)
    with pytest.warns(UserWarning, match=r"will not be loaded by detl.*Lambda layer 'own'") as said:
        path = fitted.save(tmp_path / "covid.keras")
    assert __file__ in [warning.filename for warning in said]  # not a line of detl
    with pytest.raises(ValueError, match=r"layer 'own' names 'keras\.layers\.Lambda'"):
        detl.load(path)


# --------------------------------------------------------------------------- what is not loaded


def test_a_plain_keras_file_is_refused_with_what_to_do(tiny, tmp_path):
    tiny.model_.save(tmp_path / "plain.keras")
    with pytest.raises(ValueError, match=r"Load it with keras\.saving\.load_model and pass that"):
        detl.load(tmp_path / "plain.keras")


def test_what_is_no_model_file_is_refused(tmp_path):
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(ValueError, match=r"expected what .*DomainExtensionTransfer\.save wrote"):
        detl.load(tmp_path / "text.keras")
    with pytest.raises(FileNotFoundError, match=r"No model at .*missing\.keras"):
        detl.load(tmp_path / "missing.keras")
    with pytest.raises(TypeError, match=r"path is NoneType None; expected the path of a \.keras"):
        detl.load(None)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_file_that_was_cut_off_is_damaged(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"covid\.keras is damaged \(.*\); save the model again"):
        detl.load(path)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_file_with_one_bit_flipped_is_damaged(path, share):
    assert is_sealed(path)
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"covid\.keras is damaged"):
        detl.load(path)


@pytest.mark.parametrize(
    ("module", "name"), [("keras.config", "set_max_epochs"), ("os", "system"), ("builtins", "eval")]
)
def test_a_file_with_a_function_that_acts_is_not_opened(path, module, name):
    act = {"class_name": "function", "module": module, "config": name, "registered_name": name}

    def change(config):
        config["config"]["layers"][2]["config"]["activation"] = act

    before = keras.config.max_epochs()
    with pytest.raises(ValueError, match=rf"names '{module}\.{name}', which is not allowed"):
        detl.load(rewritten(path, "config.json", change))
    assert keras.config.max_epochs() == before


def test_a_file_with_a_layer_of_code_is_not_opened(path):
    def change(config):
        layer = config["config"]["layers"][2]
        layer.update(class_name="Lambda", config={"function": "x"})

    with pytest.raises(ValueError, match=r"layer 'block1_conv' names 'keras\.layers\.Lambda'"):
        detl.load(rewritten(path, "config.json", change))


def in_settings(**settings):
    return lambda record: record["settings"].update(settings)


def in_training(**training):
    return lambda record: record["training"].update(training)


def at_the_top(**entries):
    return lambda record: record.update(entries)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (at_the_top(classes=["bone", "heart"]), "2 classes, 3 outputs of the network"),
        (at_the_top(classes=["bone", "heart", "heart"]), "3 classes, 3 outputs"),
        (at_the_top(classes=["lung", "heart", "bone"]), "not sorted, or not of the type 'U'"),
        (at_the_top(classes=[1, 2, 3]), "not sorted, or not of the type 'U'"),
        (at_the_top(classes=[[1], [2], [3]]), "none of a transfer: unhashable"),
        (at_the_top(classes=[1.0, 2.0, float("nan")], class_type="f"), "neither text nor numbers"),
        (at_the_top(classes=[1, 2, 10**400], class_type="i"), "none of a transfer: int too large"),
        (at_the_top(classes=[1, 2, 2**70], class_type="i"), "none of a transfer"),
        (at_the_top(class_type="V"), "names of classes of the type 'V'"),
        (at_the_top(class_type=["U"]), "none of a transfer: unhashable"),
        (at_the_top(history=None), "none of a transfer"),
        (at_the_top(history={"loss": ["low"]}), "could not convert string to float: 'low'"),
        (at_the_top(trained_layers=["logits", "evil"]), r"the network has not, \['evil'\]"),
        (at_the_top(trained_layers=None), "none of a transfer"),
        (at_the_top(n_features_in=32), "n_features_in=32, but the network takes 16"),
        (at_the_top(n_features_in=16.0), "n_features_in is float 16.0; expected a whole number"),
        (at_the_top(settings=None), "none of a transfer"),
        (at_the_top(training=[]), "none of a transfer"),
        (in_settings(freeze=True), r"the settings \['freeze'\], which this version does not know"),
        (in_settings(cache_dir="/tmp"), r"the settings \['cache_dir'\], which"),
        (in_settings(source="other.keras"), r"the settings \['source'\], which"),
        (in_settings(callbacks=["print"]), "expected a list of keras.callbacks.Callback"),
        (in_settings(epochs=1e308), "epochs is float 1e.308; expected a whole number"),
        (in_settings(batch_size=0), "batch_size=0; expected at least 1"),
        (in_settings(batch_size="8"), "batch_size is str '8'; expected a whole number"),
        (in_settings(learning_rate=float("nan")), "learning_rate=nan; expected a number above 0"),
        (in_settings(momentum=float("inf")), "momentum=inf; expected a number"),
        (in_settings(trainable_from=["block5"]), r"trainable_from=\['block5'\]; expected str"),
        (in_settings(verbose="all"), "verbose='all'; expected int"),
        (in_settings(precision="float8"), "'float8'; expected one of 'float32'"),
        (in_settings(random_state="now"), "random_state='now'; expected a whole number"),
        (in_settings(class_weight=[1, 2]), "none of a transfer"),
        (in_settings(augmentation={"rotation": float("nan")}), "rotation=nan; expected a number"),
        (in_settings(augmentation={"code": "x"}), "unexpected keyword argument 'code'"),
        (in_settings(augmentation=3), "augmentation is int; expected an Augmentation"),
        (in_training(image_digests="not hexadecimal"), "non-hexadecimal number"),
        (in_training(image_digests="00" * 9), "none of a transfer"),
        (in_training(image_digests="00" * 8), "of 1 training images"),
        (in_training(class_counts=[4, 8]), r"class_counts=\[4, 8\] of 12 training images"),
        (in_training(class_counts=[-4, 8, 8]), r"class_counts=\[-4, 8, 8\] of 12 training images"),
        (in_training(class_counts=[4.0, 4, 4]), r"class_counts=\[4.0, 4.0, 4.0\] of 12"),
        (in_training(groups="patients"), "groups='patients'; expected a list"),
        (in_training(groups=[["a"]]), "names of groups that are neither text nor numbers"),
        (in_training(versions=None), "none of a transfer"),
    ],
)
def test_a_record_that_does_not_fit_its_network_is_refused(path, change, said):
    with pytest.raises(ValueError, match=rf"other\.keras has a detl\.json .*{said}"):
        detl.load(rewritten(path, "detl.json", change))


@pytest.mark.parametrize(
    "missing", ["classes", "class_type", "settings", "history", "n_features_in", "training"]
)
def test_a_record_without_an_entry_is_refused(path, missing):
    with pytest.raises(ValueError, match=f"without '{missing}'; save the transfer again"):
        detl.load(rewritten(path, "detl.json", lambda record: record.pop(missing)))


def test_a_setting_that_is_missing_has_its_default(path):
    other = rewritten(path, "detl.json", lambda record: record["settings"].pop("momentum"))
    assert detl.load(other).momentum == 0.9


def pair():
    inputs = [keras.Input(SHAPE), keras.Input(SHAPE)]
    x = layers.GlobalAveragePooling2D()(layers.Concatenate()(inputs))
    return keras.Model(inputs, layers.Dense(3)(x))


def of_numbers():
    number = keras.Input((), dtype="int32")
    return keras.Model(number, layers.Embedding(2, 3)(number))


@pytest.mark.parametrize(
    ("make", "said"), [(pair, "a network of 2 inputs"), (of_numbers, "index out of range")]
)
def test_a_network_that_takes_no_images_is_no_transfer(path, tmp_path, make, said):
    record = {}
    rewritten(path, "detl.json", record.update)
    classes = np.array(["a", "b", "c"])
    other = SourceModel(model=make(), classes=classes, history={}, best_epoch=0)
    with pytest.raises(ValueError, match=f"none of a transfer: .*{said}"):
        detl.load(rewritten(other.save(tmp_path / "no.keras"), "detl.json", json.dumps(record)))
