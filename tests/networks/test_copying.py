"""A network is copied flat, with weights of its own, and the original left as it was."""

import functools
import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers

from detl.networks import copying, graphs


def images(n=3, shape=(8, 8, 3), seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (n, *shape)).astype("float32")


def randomize(model, seed=0):
    """Give every weight a random value, batch statistics included."""
    generator = np.random.default_rng(seed)
    model.set_weights([generator.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    return model


def outputs_of(model, *arrays):
    outputs = keras.tree.flatten(model(arrays[0] if len(arrays) == 1 else list(arrays)))
    return [keras.ops.convert_to_numpy(output) for output in outputs]


def operation_names(model):
    return [node.operation.name for node in graphs.model_nodes(model)]


def producer(tensor):
    return graphs.layer_of(tensor).name


# ------------------------------------------------------------------------------------ copying


def test_a_copy_computes_the_same_and_keeps_names_and_configurations(residual_network):
    model = residual_network
    model.get_layer("stem").trainable = False
    copied = copying.copy_model(model)
    np.testing.assert_array_equal(outputs_of(copied, images())[0], outputs_of(model, images())[0])
    assert operation_names(copied) == operation_names(model)
    assert copied.name == "residual"
    assert [producer(tensor) for tensor in copied.inputs] == ["images"]
    assert not copied.get_layer("stem").trainable
    assert copied.get_layer("stem").get_config() == model.get_layer("stem").get_config()
    assert copied.get_layer("norm").epsilon == 0.25
    assert copied.get_layer("norm").momentum == 0.5


def test_a_copy_has_its_own_weights_and_leaves_the_original_as_it_was(residual_network):
    model = residual_network
    before, calls = model.get_weights(), model.to_json()
    copied = copying.copy_model(model)
    copied.set_weights([weight + 1 for weight in before])
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert model.to_json() == calls


def test_an_unnamed_input_keeps_its_name():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    copied = copying.copy_model(model)
    assert producer(copied.inputs[0]) == producer(inputs)


def test_a_copy_of_several_inputs_and_outputs_computes_the_same():
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    merged = layers.Concatenate()([layers.Dense(4)(left), right])
    model = randomize(keras.Model([left, right], [layers.Dense(1)(merged), layers.Dense(2)(right)]))
    arrays = images(shape=(3,)), images(shape=(2,), seed=1)
    copies = outputs_of(copying.copy_model(model), *arrays)
    for got, expected in zip(copies, outputs_of(model, *arrays), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_copy_forgotten_leaves_memory_though_the_original_lives(residual_network):
    model = residual_network  # keras.ops.flip in it is no layer, but remembers its calls too
    copied = copying.copy_model(model)
    head = weakref.ref(copied.get_layer("head"))
    del copied
    gc.collect()
    assert head() is None


def test_a_lambda_in_memory_is_copied():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Lambda(lambda x: 2 * x, output_shape=(4,))(inputs))
    array = images(shape=(4,))
    np.testing.assert_array_equal(outputs_of(copying.copy_model(model), array)[0], 2 * array)


def test_layers_called_twice_stay_shared():
    inputs = keras.Input((4,))
    twice = layers.Dense(4, name="twice")
    model = randomize(keras.Model(inputs, twice(twice(inputs))))
    copied = copying.copy_model(model)
    assert copied.count_params() == 4 * 4 + 4
    np.testing.assert_array_equal(
        outputs_of(copied, images(shape=(4,)))[0], outputs_of(model, images(shape=(4,)))[0]
    )


def nested_network():
    """Functional in functional, Sequential in that, and the name "dense" in each."""
    inner_inputs = keras.Input((4,))
    sequential = keras.Sequential([layers.Dense(4, name="dense")], name="deepest")
    inner = keras.Model(
        inner_inputs,
        layers.Dense(4, name="other")(layers.Dense(4, name="dense")(sequential(inner_inputs))),
        name="inner",
    )
    inputs = keras.Input((4,), name="vectors")
    return randomize(keras.Model(inputs, layers.Dense(2, name="dense")(inner(inputs))))


def test_nested_models_are_dissolved_and_the_outer_graph_keeps_its_names():
    model = nested_network()
    copied = copying.copy_model(model)
    assert operation_names(copied) == ["inner_deepest_dense", "inner_dense", "other", "dense"]
    assert not any(graphs.is_graph(layer) for layer in copied.layers)
    array = images(shape=(4,)) / 255
    np.testing.assert_allclose(outputs_of(copied, array)[0], outputs_of(model, array)[0], rtol=1e-6)


def test_a_sequential_model_of_models_is_dissolved():
    first = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")], name="first")
    model = keras.Sequential([first, layers.Dense(2, name="dense")])
    randomize(model)
    copied = copying.copy_model(model)
    assert operation_names(copied) == ["first_dense", "dense"]
    array = images(shape=(4,)) / 255
    np.testing.assert_allclose(outputs_of(copied, array)[0], outputs_of(model, array)[0], rtol=1e-6)


def test_a_nested_model_called_twice_stays_one_set_of_weights():
    tower = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")], name="tower")
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    model = randomize(keras.Model([left, right], layers.Subtract()([tower(left), tower(right)])))
    copied = copying.copy_model(model)
    assert copied.count_params() == 4 * 3 + 3
    array = images(shape=(4,))
    np.testing.assert_array_equal(outputs_of(copied, array, array)[0], 0)
    np.testing.assert_array_equal(
        outputs_of(copied, array, 2 * array)[0], outputs_of(model, array, 2 * array)[0]
    )


def test_the_dtype_policy_of_a_copy_is_chosen_and_the_global_one_left_alone(residual_network):
    policy = keras.config.dtype_policy().name
    model = residual_network
    copied = copying.copy_model(model, dtype_policy="mixed_bfloat16")
    assert {layer.compute_dtype for layer in copied.layers[1:]} == {"bfloat16"}
    assert {weight.dtype for weight in copied.weights} == {"float32"}
    for weight, expected in zip(copied.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    again = copying.copy_model(copied)
    assert {layer.compute_dtype for layer in again.layers[1:]} == {"bfloat16"}
    back = copying.copy_model(copied, dtype_policy="float32")
    np.testing.assert_array_equal(outputs_of(back, images())[0], outputs_of(model, images())[0])
    assert keras.config.dtype_policy().name == policy


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize`")
def test_quantised_layers_stay_quantised_whatever_the_policy():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2, name="head")(layers.Dense(3, name="low")(inputs)))
    model.quantize("int8")
    copied = copying.copy_model(model, dtype_policy="float32")
    array = images(shape=(4,))
    assert {copied.get_layer(name).quantization_mode for name in ("low", "head")} == {"int8"}
    np.testing.assert_array_equal(outputs_of(copied, array)[0], outputs_of(model, array)[0])


@pytest.mark.parametrize("seeds", [None, 0], ids=["copied weights", "fresh weights"])
def test_what_a_normalization_layer_was_adapted_to_survives(seeds):
    normalization = layers.Normalization()
    normalization.adapt(images(shape=(2, 2, 3)) + np.array([0, 50, 100], dtype="float32"))
    inputs = keras.Input((2, 2, 3))
    model = keras.Model(inputs, normalization(inputs))
    generator = None if seeds is None else np.random.default_rng(seeds)
    copied = copying.copy_model(model, seeds=generator)
    array = images(shape=(2, 2, 3), seed=1)
    assert abs(outputs_of(model, array)[0]).max() < 5
    np.testing.assert_array_equal(outputs_of(copied, array)[0], outputs_of(model, array)[0])


# -------------------------------------------------------------------------------- Lambda layers


def double(x):
    return 2 * x


def with_lambda(function, **options):
    inputs = keras.Input((16, 16, 1))
    return keras.Model(inputs, layers.Lambda(function, **options)(inputs))


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (keras.applications.vgg16.preprocess_input, {}),
        (lambda x: keras.ops.repeat(x, 3, -1), {}),
        (lambda x: keras.ops.repeat(x, 3, -1), {"output_shape": (16, 16, 3)}),
        (lambda x, times: keras.ops.repeat(x, times, -1), {"arguments": {"times": 3}}),
        (lambda x: keras.ops.repeat(x, 3, -1), {"output_shape": lambda shape: (*shape[:-1], 3)}),
        (functools.partial(keras.ops.repeat, repeats=3, axis=-1), {}),
        (double, {}),
    ],
    ids=["keras's", "global", "shape", "argument", "shape function", "partial", "named"],
)
def test_a_lambda_is_copied_with_the_function_that_it_has(function, options):
    inputs = keras.Input((16, 16, 3 if "preprocess" in str(function) else 1))
    outputs = layers.Lambda(function, dtype="float32", trainable=False, **options)(inputs)
    model = keras.Model(inputs, outputs)
    copied = copying.copy_model(model)
    original, copy = model.layers[1], copied.layers[1]
    array = images(shape=inputs.shape[1:])
    np.testing.assert_array_equal(outputs_of(copied, array)[0], outputs_of(model, array)[0])
    assert copied.output_shape == model.output_shape
    assert copy is not original
    assert copy.function is function
    assert (copy.name, copy.trainable, copy.compute_dtype) == (original.name, False, "float32")


def test_a_lambda_keeps_its_mask():
    inputs = keras.Input((4, 2))
    masked = layers.Lambda(lambda x: x, mask=lambda x, mask: keras.ops.any(x > 0, -1))(inputs)
    model = keras.Model(inputs, layers.GlobalAveragePooling1D()(masked))
    copied = copying.copy_model(model)
    array = np.array([[[1, 1], [-1, -1], [3, 3], [-5, -5]]], dtype="float32")
    np.testing.assert_allclose(outputs_of(model, array)[0], [[2, 2]])
    np.testing.assert_allclose(outputs_of(copied, array)[0], [[2, 2]])


# ------------------------------------------------------------------------------------- seeding


def seeded(model, seed):
    return copying.copy_model(model, seeds=np.random.default_rng(seed))


def test_seeded_copies_are_equal_for_equal_seeds_whatever_the_global_seed(residual_network):
    model = residual_network
    keras.utils.set_random_seed(1)
    first = seeded(model, 0).get_weights()
    keras.utils.set_random_seed(2)
    for weight, expected in zip(seeded(model, 0).get_weights(), first, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_seeded_copies_start_afresh_by_each_layers_own_initializer(residual_network):
    model = residual_network
    one, two = seeded(model, 0), seeded(model, 1)
    limits = {"stem": 6 / (27 + 36), "branch": 6 / 72, "top": 6 / 72, "head": 6 / (4 + 2)}
    for name, squared_limit in limits.items():  # Glorot's: 6 / (fan in + fan out)
        kernel, bias = one.get_layer(name).get_weights()
        assert 0.5 < abs(kernel).max() / squared_limit**0.5 < 1
        assert not np.array_equal(kernel, two.get_layer(name).get_weights()[0])
        np.testing.assert_array_equal(bias, 0)
    gamma, beta, mean, variance = one.get_layer("norm").get_weights()
    for values, expected in ((gamma, 1), (beta, 0), (mean, 0), (variance, 1)):
        np.testing.assert_array_equal(values, expected)


def test_layers_of_one_shape_do_not_get_the_same_weights(residual_network):
    copied = seeded(residual_network, 0)
    assert not np.array_equal(copied.get_layer("branch").kernel, copied.get_layer("top").kernel)


def noisy_network():
    inputs = keras.Input((50,))
    x = layers.Dropout(0.5, name="first")(inputs)
    outputs = [x, layers.Dropout(0.5, name="second")(inputs)]
    return keras.Model(inputs, outputs)


def noise(model, seed):
    copying.seed_noise(model, seed)
    ones = np.ones((4, 50), dtype="float32")
    return [keras.ops.convert_to_numpy(mask) for mask in model(ones, training=True)]


def test_noise_is_repeatable_after_seeding():
    model = noisy_network()
    first, again, other = noise(model, 3), noise(model, 3), noise(model, 4)
    for one, two, three in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, two)
        assert not np.array_equal(one, three)


def test_noise_is_the_same_in_two_models_and_differs_between_their_layers():
    one, two = noise(noisy_network(), 3), noise(noisy_network(), 3)
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert not np.array_equal(one[0], one[1])
