"""A trained source network comes back from its file, and is shared by clones."""

import json
import math
import pickle
import random

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.base import clone

from detl import DomainExtensionTransfer, SourceModel, load_source
from detl.networks.digests import weights_digest
from tests.archives import rewritten

SHAPE = (16, 16, 1)


def probabilities(source, images):
    return source.model.predict_on_batch(np.asarray(images))


def test_saving_keeps_outputs_classes_and_history(tiny_source, tiny_images, tmp_path):
    written = tiny_source.save(tmp_path / "deeper" / "source.keras")
    assert written == tmp_path / "deeper" / "source.keras"
    assert list(written.parent.iterdir()) == [written]
    loaded = load_source(str(written))
    np.testing.assert_array_equal(
        probabilities(loaded, tiny_images), probabilities(tiny_source, tiny_images)
    )
    assert loaded.classes.tolist() == tiny_source.classes.tolist()
    assert loaded.history == tiny_source.history
    assert loaded.best_epoch == tiny_source.best_epoch


@pytest.mark.parametrize(
    "classes", [[3, 7], [False, True], [0.5, 1.5], np.array(["a", "b"], dtype=object), ["ä", "字"]]
)
def test_classes_of_any_kind_come_back(tiny_source, tmp_path, classes):
    source = SourceModel(
        model=tiny_source.model,
        classes=np.asarray(classes),
        history={"val_loss": [math.nan]},
        best_epoch=0,
    )
    loaded = load_source(source.save(tmp_path / "source.keras"))
    np.testing.assert_array_equal(loaded.classes, source.classes)
    assert loaded.classes.tolist() == source.classes.tolist()
    assert math.isnan(loaded.history["val_loss"][0])


def test_keras_itself_reads_the_file(tiny_source, tiny_images, tmp_path):
    model = keras.saving.load_model(tiny_source.save(tmp_path / "source.keras"))
    np.testing.assert_array_equal(
        model.predict_on_batch(tiny_images), probabilities(tiny_source, tiny_images)
    )


def test_files_are_written_and_read_without_moving_the_global_seed(tiny_source, tmp_path):
    random.seed(5)
    load_source(tiny_source.save(tmp_path / "source.keras"))
    assert random.random() == random.Random(5).random()


@keras.saving.register_keras_serializable("detl_tests")
class FullDisk(layers.Layer):
    """A layer whose weights cannot be written."""

    def call(self, inputs):
        return inputs

    def save_own_variables(self, store):
        raise OSError("No space left on device")


def test_a_save_that_breaks_off_leaves_the_old_file(tiny_source, tiny_images, tmp_path):
    path = tiny_source.save(tmp_path / "source.keras")
    before = path.read_bytes()
    images = keras.Input(SHAPE)
    broken = SourceModel(
        model=keras.Model(images, FullDisk()(images)),
        classes=np.array(["a", "b"]),
        history={},
        best_epoch=0,
    )
    with pytest.raises(OSError, match="No space left"):
        broken.save(path)
    assert path.read_bytes() == before
    tiny_source.save(path)  # what the broken save left behind does not stand in the way
    assert list(tmp_path.iterdir()) == [path]


def test_labels_that_cannot_be_written_are_refused_before_anything_is(tiny_source, tmp_path):
    source = SourceModel(
        model=tiny_source.model, classes=np.array([b"a", b"b"]), history={}, best_epoch=0
    )
    with pytest.raises(TypeError, match="bytes is not JSON serializable"):
        source.save(tmp_path / "source.keras")
    assert not list(tmp_path.iterdir())


def test_a_plain_keras_file_is_refused_with_what_to_do(tiny_backbone, tmp_path):
    tiny_backbone.save(tmp_path / "plain.keras")
    with pytest.raises(ValueError, match=r"Load it with keras\.saving\.load_model and pass that"):
        load_source(tmp_path / "plain.keras")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(ValueError, match=r"is not a \.keras file; expected what SourceModel\.save"):
        load_source(tmp_path / "text.keras")
    with pytest.raises(FileNotFoundError, match=r"No model at .*missing\.keras"):
        load_source(tmp_path / "missing.keras")
    with pytest.raises(FileNotFoundError, match="No model at"):
        load_source(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_file_that_was_cut_off_is_damaged(tiny_source, tmp_path, share):
    path = tiny_source.save(tmp_path / "source.keras")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"source\.keras is damaged \(.*\); save the model again"):
        load_source(path)


def test_a_path_of_another_ending_is_refused(tiny_source, tmp_path):
    with pytest.raises(ValueError, match=r"source\.h5'; expected a file name that ends in \.keras"):
        tiny_source.save(tmp_path / "source.h5")


def test_a_source_can_be_pickled(tiny_source):
    copy = pickle.loads(pickle.dumps(tiny_source))
    assert weights_digest(copy.model) == weights_digest(tiny_source.model)
    assert copy.history == tiny_source.history


@keras.saving.register_keras_serializable("detl_tests_source")
class Doubled(layers.Layer):
    def call(self, x):
        return 2 * x


@keras.saving.register_keras_serializable("detl_tests_source")
def cubed(x):
    return x**3


def test_what_is_registered_comes_along_to_a_process_in_which_it_is_not(tiny_images):
    pixels = keras.Input(SHAPE)
    x = layers.Dense(2, activation=cubed)(layers.Flatten()(Doubled()(pixels)))
    model = keras.Model(pixels, x)
    source = SourceModel(model=model, classes=np.array(["a", "b"]), history={}, best_epoch=0)
    transfer = DomainExtensionTransfer(model, trainable_from="input")
    expected = probabilities(source, tiny_images)
    for carrier, model_of in ((source, lambda s: s.model), (transfer, lambda t: t.source)):
        written = pickle.dumps(carrier)
        for name in ("Doubled", "cubed"):
            del keras.saving.get_custom_objects()[f"detl_tests_source>{name}"]
        with pytest.raises(TypeError, match="Could not locate class 'Doubled'"):
            pickle.loads(pickle.dumps(model))
        found = model_of(pickle.loads(written)).predict_on_batch(np.asarray(tiny_images))
        np.testing.assert_array_equal(found, expected)
        assert keras.saving.get_registered_object("detl_tests_source>cubed") is cubed


def test_a_lambda_is_not_loaded_from_a_file_and_saving_says_so(tmp_path):
    pixels = keras.Input(SHAPE)
    flat = layers.Flatten()(layers.Lambda(lambda x: keras.ops.abs(x), name="own")(pixels))
    model = keras.Model(pixels, layers.Dense(2)(flat))
    source = SourceModel(model=model, classes=np.array(["a", "b"]), history={}, best_epoch=0)
    path = tmp_path / "source.keras"
    with pytest.warns(UserWarning, match=r"will not be loaded by detl.*Lambda layer 'own'"):
        source.save(path)
    with pytest.raises(
        ValueError,
        match=r"source\.keras is not opened: its layer 'own' names 'keras\.layers\.Lambda'",
    ):
        load_source(path)
    with pytest.raises(TypeError, match=r"Lambda layer 'own' of .* cannot be pickled"):
        pickle.dumps(source)


def test_clones_of_an_estimator_share_the_source(tiny_source):
    assert clone(tiny_source) is tiny_source


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": ["bright", "dim", "none"]}, "3 classes, 2 outputs"),
        ({"classes": ["dim", "dim"]}, "2 classes, 2 outputs"),
        ({"classes": [0.5, float("nan")]}, "neither text nor numbers"),
        ({"classes": ["dim", 1]}, "of several types"),
        ({"classes": 2}, "none of a source"),
        ({"best_epoch": 4}, r"the best epoch 4 of \[4\]"),
        ({"best_epoch": -1}, "the best epoch -1"),
        ({"best_epoch": None}, "none of a source"),
        ({"history": {"loss": [1.0], "accuracy": [1.0, 2.0]}}, "the best epoch"),
        ({"history": None}, "none of a source"),
    ],
)
def test_a_record_that_does_not_fit_its_network_is_refused(tiny_source, tmp_path, change, said):
    record = {
        "classes": ["bright", "dim"],
        "history": tiny_source.history,
        "best_epoch": tiny_source.best_epoch,
    }
    with pytest.raises(ValueError, match=said):
        load_source(with_record(tiny_source, tmp_path, json.dumps({**record, **change})))


@pytest.mark.parametrize("missing", ["classes", "history", "best_epoch"])
def test_a_record_without_an_entry_is_refused(tiny_source, tmp_path, missing):
    record = {"classes": ["bright", "dim"], "history": {"loss": [1.0]}, "best_epoch": 0}
    del record[missing]
    with pytest.raises(ValueError, match=f"without '{missing}'[.;] [sS]ave the source again"):
        load_source(with_record(tiny_source, tmp_path, json.dumps(record)))


def test_a_record_larger_than_any_is_not_read(tiny_source, tmp_path):
    path = with_record(tiny_source, tmp_path, " " * (16 * 1024**2 + 1))
    with pytest.raises(ValueError, match=r"detl\.json of 16,777,217 bytes; expected at most"):
        load_source(path)


def test_a_record_that_could_not_be_read_back_is_not_written(tiny_source, tmp_path):
    source = SourceModel(
        model=tiny_source.model,
        classes=tiny_source.classes,
        history={"loss": [0.123456789] * 1_500_000},
        best_epoch=0,
    )
    with pytest.raises(ValueError, match=r"has 19,500,\d\d\d bytes; 16,777,216 can be read back"):
        source.save(tmp_path / "source.keras")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["null", "[1]", "{", "[" * 100_000])
def test_a_record_that_is_no_record_is_refused_by_file(tiny_source, tmp_path, text):
    with pytest.raises(ValueError, match=r"other\.keras has a detl\.json that is none of a model"):
        load_source(with_record(tiny_source, tmp_path, text))


def test_a_file_of_a_later_version_is_refused(tiny_source, tmp_path):
    with pytest.raises(ValueError, match="its kind is 'ensemble', which this version does not kno"):
        load_source(with_record(tiny_source, tmp_path, '{"kind": "ensemble"}'))


def test_a_source_with_a_function_that_acts_is_not_opened(tiny_source, tmp_path):
    def change(config):
        layer = config["config"]["layers"][1]
        layer["config"]["activation"] = {
            "class_name": "function",
            "module": "keras.config",
            "config": "set_max_epochs",
            "registered_name": "set_max_epochs",
        }

    with pytest.raises(ValueError, match=r"'keras\.config\.set_max_epochs', which is not allowed"):
        load_source(rewritten(tiny_source.save(tmp_path / "honest.keras"), "config.json", change))


def with_record(source, folder, text):
    return rewritten(source.save(folder / "honest.keras"), "detl.json", text)
