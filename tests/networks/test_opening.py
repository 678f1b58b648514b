"""A model file that is opened computes, and does nothing else."""

import errno
import io
import json
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from detl.networks.opening import open_model, read_member

EVIL = "evil"


@keras.saving.register_keras_serializable("detl_tests")
class Doubled(layers.Layer):
    def call(self, inputs):
        return 2 * inputs


class Unregistered(layers.Layer):
    def call(self, inputs):
        return 3 * inputs


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A file of a small network that nobody has tampered with."""
    inputs = keras.Input((6, 6, 1))
    x = layers.Rescaling(1 / 255, name="rescaling")(inputs)
    x = layers.Conv2D(2, 3, activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    path = tmp_path_factory.mktemp("models") / "honest.keras"
    model.save(path)
    return path


@pytest.fixture
def tampered(honest, tmp_path):
    """Return a function that writes the honest file with another configuration or weights."""

    def write(change=None, *, weights=None, config=None):
        path = tmp_path / "tampered.keras"
        with zipfile.ZipFile(honest) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                if name == "config.json":
                    whole = json.loads(content)
                    if change is not None:
                        change(whole)
                    content = json.dumps(whole).encode() if config is None else config
                if name == "model.weights.h5" and weights is not None:
                    content = weights(content)
                new.writestr(name, content)
        return path

    return write


def layer_of(config, name):
    return next(layer for layer in config["config"]["layers"] if layer["config"]["name"] == name)


def function(module, name):
    return {"class_name": "function", "module": module, "config": name, "registered_name": name}


def an(kind, module="keras.layers", registered=None, **config):
    return {
        "class_name": kind,
        "module": module,
        "registered_name": registered,
        "config": {"name": EVIL, **config},
    }


def with_activation(value):
    def change(config):
        layer_of(config, "conv")["config"]["activation"] = value

    return change


def with_layer(entry):
    def change(config):
        old = layer_of(config, "rescaling")
        config["config"]["layers"].append(
            {**entry, "name": EVIL, "inbound_nodes": old["inbound_nodes"]}
        )

    return change


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.config", "set_max_epochs"),
        ("keras.visualization", "plot_image_gallery"),
        ("keras.utils", "get_file"),
        ("keras.saving", "load_model"),
        ("keras.activations", "deserialize"),
        ("keras.activations", "get"),
        ("keras.ops", "while_loop"),
        ("keras.ops", "zeros"),
        ("keras", "config.set_max_epochs"),
        ("keras.src.saving.saving_api", "load_model"),
        ("keras.layers", "TFSMLayer"),
        ("builtins", "deserialize"),
        ("builtins", "eval"),
        ("os", "system"),
        (None, "system"),
    ],
)
def test_a_function_that_acts_is_refused_by_layer_and_name(tampered, module, name):
    path = tampered(with_activation(function(module, name)))
    with pytest.raises(ValueError, match=rf"layer 'conv' names '.*{name}', which is not allowed"):
        open_model(path)


@pytest.mark.parametrize(
    "entry",
    [
        an("Lambda", function={"class_name": "__lambda__", "config": {"value": "x"}}),
        an("TFSMLayer", filepath="somewhere"),
        an("TorchModuleWrapper"),
        an("JaxLayer"),
        an("StringLookup", vocabulary="/etc/passwd"),
        an("IntegerLookup", vocabulary="/etc/passwd"),
        an("TextVectorization", vocabulary="/etc/passwd"),
        an("set_max_epochs", "keras.config"),
        an("VGG16", "keras.applications"),
        an("load_model", "keras.models"),
        an("BackupAndRestore", "keras.callbacks", backup_dir="somewhere"),
        an("H5IOStore", "keras.src.saving.saving_lib"),
        an("Popen", "subprocess"),
        an("Unregistered", "tests.networks.test_opening", "Unregistered"),
        an("__typespec__", "tensorflow", spec_name="TensorSpec"),
        {"class_name": "Dense", "config": {"name": EVIL, "units": 1}},
        {"class_name": ["Dense"], "module": "keras.layers", "config": {"name": EVIL}},
    ],
    ids=lambda entry: str(entry["class_name"]),
)
def test_a_layer_that_acts_is_refused_by_name(tampered, entry):
    with pytest.raises(ValueError, match=rf"layer '{EVIL}' names .* is not allowed in a file"):
        open_model(tampered(with_layer(entry)))


@pytest.mark.parametrize(
    "hidden_in",
    [
        lambda entry: an("TimeDistributed", layer=entry),
        lambda entry: an("Bidirectional", layer=entry),
        lambda entry: an("Sequential", "keras", layers=[an("InputLayer"), entry]),
        lambda entry: {**an("ReLU"), "compile_config": {"optimizer": entry}},
        lambda entry: {**an("ReLU"), "build_config": {"input_shape": [entry]}},
        lambda entry: an("Dense", kernel_initializer={"class_name": "Zeros", "config": [entry]}),
    ],
    ids=["wrapper", "two ways", "nested model", "compile", "build", "initializer"],
)
def test_what_is_hidden_inside_another_is_found(tampered, hidden_in):
    entry = {**an("Lambda"), "config": {"name": "deep"}}
    with pytest.raises(ValueError, match="not allowed in a file"):
        open_model(tampered(with_layer(hidden_in(entry))))


def test_nothing_is_built_before_all_is_looked_at(tampered):
    before = keras.config.max_epochs()
    change = with_layer(an("Activation", activation=function("keras.config", "set_max_epochs")))
    with pytest.raises(ValueError, match=r"keras\.config\.set_max_epochs"):
        open_model(tampered(change))
    assert keras.config.max_epochs() == before


def test_a_layer_that_is_called_on_numbers_is_refused(tampered):
    def change(config):
        config["config"]["layers"].append(
            {
                **an("UpSampling2D", size=[10**5, 10**5]),
                "inbound_nodes": [{"args": [[[[[1.0]]]]], "kwargs": {}}],
            }
        )

    with pytest.raises(ValueError, match=f"layer '{EVIL}' is called on no tensor of the network"):
        open_model(tampered(change))


@pytest.mark.parametrize("name", ["../up", "a/b", "..", "a\\b"])
def test_a_layer_named_like_a_path_is_refused(tampered, name):
    def change(config):
        layer_of(config, "conv")["config"]["name"] = name
        for layer in config["config"]["layers"]:
            if layer.get("name") == "conv":
                layer["name"] = name

    with pytest.raises(ValueError, match="which is a path"):
        open_model(tampered(change))


def test_an_honest_file_opens_to_the_same_network(honest):
    images = np.random.default_rng(0).uniform(0, 255, (3, 6, 6, 1)).astype("float32")
    np.testing.assert_array_equal(
        open_model(honest).predict_on_batch(images),
        keras.saving.load_model(honest).predict_on_batch(images),
    )


def test_what_the_caller_has_registered_opens(tmp_path):
    path = tmp_path / "own.keras"
    keras.Sequential([keras.Input((4,)), Doubled(), layers.Dense(2)]).save(path)
    assert isinstance(open_model(path).layers[0], Doubled)


@pytest.mark.parametrize(
    "part",
    [
        lambda x: keras.ops.relu6(x) + 1,
        layers.Activation("gelu"),
        layers.Activation(keras.activations.hard_sigmoid),
        layers.Dense(2, kernel_regularizer="l2", kernel_constraint="max_norm", dtype="float16"),
        layers.RandomFlip(seed=0),
        layers.SpectralNormalization(layers.Dense(2)),
    ],
    ids=["ops", "text", "activation", "details", "random", "wrapper"],
)
def test_what_people_build_with_keras_opens(tmp_path, part):
    inputs = keras.Input((4, 4, 3))
    path = tmp_path / "own.keras"
    keras.Model(inputs, part(inputs)).save(path)
    assert open_model(path).input_shape == (None, 4, 4, 3)


def test_a_compiled_network_opens(honest, tmp_path):
    path = tmp_path / "compiled.keras"
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.saving.load_model(honest)])
    model.compile("adam", keras.losses.CategoricalCrossentropy(), metrics=["accuracy"])
    model.save(path)
    assert open_model(path).output_shape == (None, 2)


@pytest.mark.parametrize(
    ("place", "opens"),
    [
        ("torch.optimizers.torch_adam.Adam", True),
        ("torch.optimizers.torch_adam.torch", False),
        ("torch.optimizers.torch_adam.Adam.mro", False),
        ("torch.trainer.TorchTrainer", False),
    ],
)
def test_a_network_that_was_compiled_under_pytorch_opens(tampered, place, opens):
    module, _, name = f"keras.src.backend.{place}".rpartition(".")
    optimizer = {"module": module, "class_name": name, "registered_name": name, "config": {}}

    def change(config):
        config["compile_config"] = {"optimizer": optimizer}

    path = tampered(change)
    if opens:
        assert open_model(path).output_shape == (None, 2)
    else:
        with pytest.raises(ValueError, match="is not allowed in a file"):
            open_model(path)


def altered(change):
    """Return a function from the bytes of a weights file to others."""

    def write(content):
        file = io.BytesIO(content)
        with h5py.File(file, "r+") as weights:
            change(weights, weights["layers/conv2d/vars"])
        return file.getvalue()

    return write


def elsewhere(weights, variables):
    del variables["0"]
    variables["0"] = h5py.ExternalLink("/tmp/other.h5", "/kernel")


def soft(weights, variables):
    del variables["0"]
    variables["0"] = h5py.SoftLink("/layers/dense/vars/0")


def in_another_file(weights, variables):
    del variables["0"]
    variables.create_dataset("0", (3, 3, 1, 2), "f4", external=[("/etc/passwd", 0, 72)])


def virtual(weights, variables):
    del variables["0"]
    layout = h5py.VirtualLayout((3, 3, 1, 2), "f4")
    layout[...] = h5py.VirtualSource("/tmp/other.h5", "kernel", (3, 3, 1, 2))
    variables.create_virtual_dataset("0", layout)


def enormous(weights, variables):
    del variables["0"]
    variables.create_dataset("0", (10**6, 10**6), "f4", chunks=(100, 100))


def endless(weights, variables):
    variables["again"] = weights["layers"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (elsewhere, "lie elsewhere"),
        (soft, "lie elsewhere"),
        (in_another_file, "in other files"),
        (virtual, "in other files"),
        (enormous, "claims .* bytes of weights"),
        (endless, "inside themselves"),
    ],
)
def test_weights_that_are_not_in_the_file_are_refused(tampered, change, said):
    path = tampered(weights=altered(change))
    with pytest.raises(ValueError, match=said):
        open_model(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(tampered, value):
    def spoil(weights, variables):
        variables["0"][0, 0, 0, 0] = value

    with pytest.raises(ValueError, match=r"NaN or infinity in '.*conv/kernel'"):
        open_model(tampered(weights=altered(spoil)))


@pytest.mark.parametrize("filters", [10**9, 10**13])
def test_layers_larger_than_their_weights_are_refused_before_they_are_built(tampered, filters):
    def change(config):
        layer_of(config, "conv")["config"]["filters"] = filters

    with pytest.raises(ValueError, match=r"describes layers of [\d,]+ bytes, and has weights"):
        open_model(tampered(change))


def test_a_configuration_that_is_nested_without_end_is_refused(tampered):
    with pytest.raises(ValueError, match=r"config\.json that cannot be read"):
        open_model(tampered(config=b"[" * 100_000))


@pytest.mark.parametrize(
    "content",
    [
        b"null",
        json.dumps({}).encode("utf-16"),
        b'{"class_name": "SeedGenerator", "module": "keras.random", "config": {}}',
    ],
    ids=["null", "other encoding", "no model"],
)
def test_a_configuration_of_no_network_is_refused_by_file(tampered, content):
    with pytest.raises(ValueError, match=r"tampered\.keras (describes a network|holds a)"):
        open_model(tampered(config=content))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("filters", -1),
        ("filters", "__import__('os')"),
        ("dtype", "os.system"),
        ("activation", "deserialize"),
        ("kernel_initializer", "get_file"),
        ("kernel_regularizer", "set_max_epochs"),
    ],
)
def test_a_setting_that_keras_does_not_know_is_refused_by_file(tampered, key, value):
    def change(config):
        layer_of(config, "conv")["config"][key] = value

    with pytest.raises(
        ValueError, match=r"tampered\.keras describes a network that cannot be built"
    ):
        open_model(tampered(change))


HOSTILE = {
    "a module inside a module": {"module": "keras.layers.os"},
    "a registered name": {"module": "os", "class_name": "system", "registered_name": "Conv2D"},
    "a name of Keras": {"module": "my", "class_name": "Lambda", "registered_name": "keras>Lambda"},
    "quantisation": {"quantization_config": {"class_name": "system", "module": "os"}},
    "what is built": {"build_config": {"x": function("keras.config", "set_max_epochs")}},
    "rank of an adapter": {"config": {"name": "conv", "filters": 2, "lora_rank": 10**9}},
    "shape that is built": {"build_config": {"input_shape": [None, 10**9, 10**9, 10**9]}},
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_other_places_of_a_layer_are_looked_at(tampered, change):
    before = keras.config.max_epochs()
    with pytest.raises(ValueError, match=r"not opened|bytes|cannot be built"):
        open_model(tampered(lambda config: layer_of(config, "conv").update(change)))
    assert keras.config.max_epochs() == before


def test_files_beside_the_network_are_limited(honest, tmp_path):
    path = tmp_path / "large.keras"
    path.write_bytes(honest.read_bytes())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(65 * 1024**2))
    with pytest.raises(ValueError, match=r"large\.keras says that it unpacks to [\d,]+ bytes besi"):
        open_model(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip"])
def test_a_file_that_is_no_archive_is_named(tmp_path, content):
    path = tmp_path / "broken.keras"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.keras is damaged or no \.keras file"):
        open_model(path)


def test_a_truncated_file_is_named(honest, tmp_path):
    path = tmp_path / "cut.keras"
    path.write_bytes(honest.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"cut\.keras is damaged"):
        open_model(path)


def test_a_full_disk_is_not_blamed_on_the_file(honest, tmp_path):
    resource = pytest.importorskip("resource")
    path = shutil.copy(honest, tmp_path / "source.keras")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("detl.json", b"{}")  # Keras unpacks a file with more in it than its own
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"source\.keras cannot be .* make room") as full:
            open_model(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert full.value.errno == errno.EFBIG


def test_a_member_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("detl.json", b" " * 1_000_001)
    with zipfile.ZipFile(path) as archive, pytest.raises(ValueError, match="of 1,000,001 bytes"):
        read_member(archive, "detl.json", at_most=1_000_000)
