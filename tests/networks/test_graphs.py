"""The graph of a model is walked, cut and copied without changing the model."""

import functools
import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers

from detl.networks import graphs
from detl.networks.normalization import FusedBatchNormalization


def images(n=3, shape=(8, 8, 3), seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (n, *shape)).astype("float32")


def randomize(model, seed=0):
    """Give every weight a random value, batch statistics included."""
    generator = np.random.default_rng(seed)
    model.set_weights([generator.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    return model


def residual_network():
    x = inputs = keras.Input((8, 8, 3), name="images")
    x = layers.Rescaling(1 / 255, name="rescaling")(x)
    x = layers.Conv2D(4, 3, padding="same", name="stem")(x)
    x = layers.BatchNormalization(epsilon=0.25, momentum=0.5, name="norm")(x)
    y = layers.Conv2D(4, 3, padding="same", activation="relu", name="branch")(x)
    x = layers.Add(name="sum")([x, y])
    x = keras.ops.flip(x, axis=1)
    x = layers.Conv2D(4, 3, padding="same", name="top")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    return randomize(keras.Model(inputs, layers.Dense(2, name="head")(x), name="residual"))


def outputs_of(model, *arrays):
    outputs = keras.tree.flatten(model(arrays[0] if len(arrays) == 1 else list(arrays)))
    return [keras.ops.convert_to_numpy(output) for output in outputs]


def operation_names(model):
    return [node.operation.name for node in graphs.model_nodes(model)]


def producer(tensor):
    return graphs.layer_of(tensor).name


# ------------------------------------------------------------------------------------ walking


def test_nodes_come_after_those_they_depend_on_and_once_each():
    model = residual_network()
    order = graphs.model_nodes(model)
    position = {id(tensor): i for i, node in enumerate(order) for tensor in node.outputs}
    assert len({id(node) for node in order}) == len(order) == 10
    for index, node in enumerate(order):
        for tensor in node.input_tensors:
            assert position.get(id(tensor), -1) < index


def test_nodes_stop_at_the_given_inputs():
    model = residual_network()
    start = model.get_layer("sum").output
    between = graphs.nodes(list(model.outputs), [start])
    assert [node.operation.name for node in between][1:] == ["top", "pool", "dropout", "head"]
    assert between[0].operation.name.startswith("flip")


def test_a_graph_is_a_functional_or_built_sequential_model():
    class Subclassed(keras.Model):
        pass

    assert graphs.is_graph(residual_network())
    assert graphs.is_graph(keras.Sequential([keras.Input((4,)), layers.Dense(1)]))
    assert not graphs.is_graph(keras.Sequential([layers.Dense(1)]))
    assert not graphs.is_graph(Subclassed())
    assert not graphs.is_graph(layers.Dense(1))
    assert not graphs.is_graph("a path")


# ------------------------------------------------------------------------------------ cutting


def bottlenecks_by_removal(model):
    """Remove each tensor in turn: where no output can be reached any more, all pass through it."""
    order = graphs.model_nodes(model)
    tensors = [*model.inputs, *(tensor for node in order for tensor in node.outputs)]

    def reached(starts, without=None):
        seen = {id(tensor) for tensor in starts} - {id(without)}
        for node in order:
            if any(id(tensor) in seen for tensor in node.input_tensors):
                seen |= {id(tensor) for tensor in node.outputs} - {id(without)}
        return seen

    for tensor in tensors:
        if not reached(model.inputs, without=tensor) & {id(output) for output in model.outputs}:
            downstream = reached([tensor])
            after = [
                node for node in order if any(id(used) in downstream for used in node.input_tensors)
            ]
            yield producer(tensor), {id(node) for node in after}


def chain():
    x = inputs = keras.Input((4,))
    for name in "abc":
        x = layers.Activation("relu", name=name)(x)
    return keras.Model(inputs, x)


def skip_over_everything():
    inputs = keras.Input((4,))
    x = layers.Activation("relu", name="a")(inputs)
    x = layers.Activation("relu", name="b")(x)
    return keras.Model(inputs, layers.Add(name="sum")([x, inputs]))


def dense_block():
    x = inputs = keras.Input((4,))
    x = layers.Activation("relu", name="stem")(x)
    for index in range(3):
        y = layers.Activation("relu", name=f"layer{index}")(x)
        x = layers.Concatenate(name=f"join{index}")([x, y])
    return keras.Model(inputs, layers.Activation("relu", name="top")(x))


def two_inputs_that_meet():
    inputs = [keras.Input((4,), name="left"), keras.Input((4,), name="right")]
    x = layers.Add(name="meet")([layers.Activation("relu", name="a")(inputs[0]), inputs[1]])
    return keras.Model(inputs, layers.Activation("relu", name="top")(x))


def two_outputs():
    inputs = keras.Input((4,))
    x = layers.Activation("relu", name="shared")(inputs)
    outputs = [layers.Activation("relu", name=name)(x) for name in ("left", "right")]
    return keras.Model(inputs, outputs)


def output_inside():
    inputs = keras.Input((4,))
    x = layers.Activation("relu", name="a")(inputs)
    y = layers.Activation("relu", name="b")(x)
    return keras.Model(inputs, [x, layers.Activation("relu", name="c")(y)])


def one_layer_twice():
    inputs = keras.Input((4,))
    twice = layers.Activation("relu", name="twice")
    return keras.Model(inputs, layers.Activation("relu", name="top")(twice(twice(inputs))))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (chain, ["a", "b", "c"]),
        (skip_over_everything, ["sum"]),
        (dense_block, ["stem", "join0", "join1", "join2", "top"]),
        (two_inputs_that_meet, ["meet", "top"]),
        (two_outputs, ["shared"]),
        (output_inside, ["a"]),
        (one_layer_twice, ["twice", "twice", "top"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_bottlenecks_are_where_nothing_runs_beside(build, expected):
    model = build()
    found = [(producer(tensor), after) for tensor, after in graphs.bottlenecks(model)]
    if len(model.inputs) == 1:
        expected = [producer(model.inputs[0]), *expected]
    assert [name for name, _ in found] == expected
    assert [(name, {id(node) for node in after}) for name, after in found] == list(
        bottlenecks_by_removal(model)
    )


@pytest.mark.parametrize("seed", range(25))
def test_bottlenecks_of_random_graphs_are_those_found_by_removing_each_tensor(seed):
    generator = np.random.default_rng(seed)
    tensors = [keras.Input((2,)) for _ in range(generator.integers(1, 3))]
    inputs, unused = list(tensors), list(tensors)
    for _ in range(8):
        recent = tensors[-3:]
        chosen = generator.permutation(len(recent))[: generator.integers(1, 3)]
        used = [recent[index] for index in chosen]
        merged = layers.Add()(used) if len(used) > 1 else used[0]
        tensors.append(layers.Activation("relu")(merged))
        unused = [t for t in unused if not any(t is u for u in used)] + [tensors[-1]]
    model = keras.Model(inputs, layers.Add()(unused) if len(unused) > 1 else unused[0])
    found = [
        (producer(tensor), {id(node) for node in after})
        for tensor, after in graphs.bottlenecks(model)
    ]
    assert found == list(bottlenecks_by_removal(model))
    assert found


# ------------------------------------------------------------------------------------ copying


def test_a_copy_computes_the_same_and_keeps_names_and_configurations():
    model = residual_network()
    model.get_layer("stem").trainable = False
    copied = graphs.copy_model(model)
    np.testing.assert_array_equal(outputs_of(copied, images())[0], outputs_of(model, images())[0])
    assert operation_names(copied) == operation_names(model)
    assert copied.name == "residual"
    assert [producer(tensor) for tensor in copied.inputs] == ["images"]
    assert not copied.get_layer("stem").trainable
    assert copied.get_layer("norm").epsilon == 0.25
    assert copied.get_layer("norm").momentum == 0.5


def test_a_copy_has_its_own_weights_and_leaves_the_original_as_it_was():
    model = residual_network()
    before, calls = model.get_weights(), model.to_json()
    copied = graphs.copy_model(model)
    copied.set_weights([weight + 1 for weight in before])
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)
    assert model.to_json() == calls


def test_an_unnamed_input_keeps_its_name():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    copied = graphs.copy_model(model)
    assert producer(copied.inputs[0]) == producer(inputs)


def test_a_copy_of_several_inputs_and_outputs_computes_the_same():
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    merged = layers.Concatenate()([layers.Dense(4)(left), right])
    model = randomize(keras.Model([left, right], [layers.Dense(1)(merged), layers.Dense(2)(right)]))
    arrays = images(shape=(3,)), images(shape=(2,), seed=1)
    copies = outputs_of(graphs.copy_model(model), *arrays)
    for got, expected in zip(copies, outputs_of(model, *arrays), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_copy_forgotten_leaves_memory_though_the_original_lives():
    model = residual_network()  # keras.ops.flip in it is no layer, but remembers its calls too
    copied = graphs.copy_model(model)
    head = weakref.ref(copied.get_layer("head"))
    del copied
    gc.collect()
    assert head() is None


def test_a_lambda_in_memory_is_copied():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Lambda(lambda x: 2 * x, output_shape=(4,))(inputs))
    array = images(shape=(4,))
    np.testing.assert_array_equal(outputs_of(graphs.copy_model(model), array)[0], 2 * array)


def test_layers_called_twice_stay_shared():
    inputs = keras.Input((4,))
    twice = layers.Dense(4, name="twice")
    model = randomize(keras.Model(inputs, twice(twice(inputs))))
    copied = graphs.copy_model(model)
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
    copied = graphs.copy_model(model)
    assert operation_names(copied) == ["inner_deepest_dense", "inner_dense", "other", "dense"]
    assert not any(graphs.is_graph(layer) for layer in copied.layers)
    array = images(shape=(4,)) / 255
    np.testing.assert_allclose(outputs_of(copied, array)[0], outputs_of(model, array)[0], rtol=1e-6)


def test_a_sequential_model_of_models_is_dissolved():
    first = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")], name="first")
    model = keras.Sequential([first, layers.Dense(2, name="dense")])
    randomize(model)
    copied = graphs.copy_model(model)
    assert operation_names(copied) == ["first_dense", "dense"]
    array = images(shape=(4,)) / 255
    np.testing.assert_allclose(outputs_of(copied, array)[0], outputs_of(model, array)[0], rtol=1e-6)


def test_a_nested_model_called_twice_stays_one_set_of_weights():
    tower = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")], name="tower")
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    model = randomize(keras.Model([left, right], layers.Subtract()([tower(left), tower(right)])))
    copied = graphs.copy_model(model)
    assert copied.count_params() == 4 * 3 + 3
    array = images(shape=(4,))
    np.testing.assert_array_equal(outputs_of(copied, array, array)[0], 0)
    np.testing.assert_array_equal(
        outputs_of(copied, array, 2 * array)[0], outputs_of(model, array, 2 * array)[0]
    )


def test_the_dtype_policy_of_a_copy_is_chosen_and_the_global_one_left_alone():
    policy = keras.config.dtype_policy().name
    model = residual_network()
    copied = graphs.copy_model(model, dtype_policy="mixed_bfloat16")
    assert {layer.compute_dtype for layer in copied.layers[1:]} == {"bfloat16"}
    assert {weight.dtype for weight in copied.weights} == {"float32"}
    for weight, expected in zip(copied.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    again = graphs.copy_model(copied)
    assert {layer.compute_dtype for layer in again.layers[1:]} == {"bfloat16"}
    back = graphs.copy_model(copied, dtype_policy="float32")
    np.testing.assert_array_equal(outputs_of(back, images())[0], outputs_of(model, images())[0])
    assert keras.config.dtype_policy().name == policy


@pytest.mark.parametrize("seeds", [None, 0], ids=["copied weights", "fresh weights"])
def test_what_a_normalization_layer_was_adapted_to_survives(seeds):
    normalization = layers.Normalization()
    normalization.adapt(images(shape=(2, 2, 3)) + np.array([0, 50, 100], dtype="float32"))
    inputs = keras.Input((2, 2, 3))
    model = keras.Model(inputs, normalization(inputs))
    generator = None if seeds is None else np.random.default_rng(seeds)
    copied = graphs.copy_model(model, seeds=generator)
    array = images(shape=(2, 2, 3), seed=1)
    assert abs(outputs_of(model, array)[0]).max() < 5
    np.testing.assert_array_equal(outputs_of(copied, array)[0], outputs_of(model, array)[0])


# ------------------------------------------------------------------------------------- seeding


def seeded(model, seed):
    return graphs.copy_model(model, seeds=np.random.default_rng(seed))


def test_seeded_copies_are_equal_for_equal_seeds_whatever_the_global_seed():
    model = residual_network()
    keras.utils.set_random_seed(1)
    first = seeded(model, 0).get_weights()
    keras.utils.set_random_seed(2)
    for weight, expected in zip(seeded(model, 0).get_weights(), first, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_seeded_copies_start_afresh_by_each_layers_own_initializer():
    model = residual_network()
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


def test_layers_of_one_shape_do_not_get_the_same_weights():
    copied = seeded(residual_network(), 0)
    assert not np.array_equal(copied.get_layer("branch").kernel, copied.get_layer("top").kernel)


def noisy_network():
    inputs = keras.Input((50,))
    x = layers.Dropout(0.5, name="first")(inputs)
    outputs = [x, layers.Dropout(0.5, name="second")(inputs)]
    return keras.Model(inputs, outputs)


def noise(model, seed):
    graphs.seed_noise(model, seed)
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


# --------------------------------------------------------------------------------------- the digest


def digested(*, rate=0.3, activation="relu", units=4, joined="add", scale=2.0, names=None):
    """Return the digest of a network with weights, noise, a constant and a branch."""
    images = keras.Input((8, 8, 1), name=names)
    x = layers.Conv2D(4, 3, padding="same", activation=activation, name=names and f"{names}_1")(
        images
    )
    x = layers.Dropout(rate, name=names and f"{names}_2")(x)
    merged = layers.Add()([x, images]) if joined == "add" else layers.Multiply()([x, images])
    x = layers.GlobalAveragePooling2D()(merged * scale)
    return graphs.graph_digest(keras.Model(images, layers.Dense(units)(x)))


def test_a_digest_depends_on_what_layers_are_and_not_on_their_names():
    assert digested() == digested() == digested(names="other")
    changed = [
        digested(rate=0.2),
        digested(activation="tanh"),
        digested(units=5),
        digested(joined="multiply"),
        digested(scale=3.0),
    ]
    assert len({digested(), *changed}) == 6


def test_a_digest_depends_on_how_layers_are_joined():
    def joined(order, *, shared):
        table = keras.Input((4,))
        first, second = layers.Dense(4), layers.Dense(4)
        outputs = [first(table), (first if shared else second)(first(table))]
        return graphs.graph_digest(
            keras.Model(table, layers.Subtract()([outputs[k] for k in order]))
        )

    digests = {joined(order, shared=shared) for order in ((0, 1), (1, 0)) for shared in (0, 1)}
    assert len(digests) == 4
    assert joined((0, 1), shared=1) in digests


def test_a_copy_and_other_weights_have_the_same_digest(tiny_backbone):
    copy = graphs.copy_model(tiny_backbone)
    copy.set_weights([weight + 1 for weight in copy.get_weights()])
    assert graphs.graph_digest(copy) == graphs.graph_digest(tiny_backbone)


# ------------------------------------------------------------------------- code that is not Keras's


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
    copied = graphs.copy_model(model)
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
    copied = graphs.copy_model(model)
    array = np.array([[[1, 1], [-1, -1], [3, 3], [-5, -5]]], dtype="float32")
    np.testing.assert_allclose(outputs_of(model, array)[0], [[2, 2]])
    np.testing.assert_allclose(outputs_of(copied, array)[0], [[2, 2]])


def test_a_digest_depends_on_the_function_of_a_lambda():
    def of(function, **options):
        return graphs.graph_digest(with_lambda(function, **options))

    assert of(lambda x: x * 2) == of(lambda x: x * 2)
    digests = [
        of(lambda x: x * 2),
        of(lambda x: x * 3),
        of(double),
        of(keras.ops.abs),
        of(keras.ops.tanh),
        of(keras.activations.tanh),
        of(lambda x, k=1: x * k),
        of(lambda x, k=1: x * k, arguments={"k": 2}),
        of(functools.partial(keras.ops.repeat, repeats=2, axis=-1)),
        of(functools.partial(keras.ops.repeat, repeats=3, axis=-1)),
    ]
    assert len(set(digests)) == len(digests)
    read = [
        layers.Lambda.from_config(layers.Lambda(function).get_config(), safe_mode=False).function
        for function in (lambda x: x * 2, lambda x: x * 3)
    ]
    assert of(read[0]) != of(read[1])
    # Of one name in Keras, and not the same.
    inputs = keras.Input((16, 16, 3))
    preprocessed = {
        graphs.graph_digest(keras.Model(inputs, layers.Lambda(module.preprocess_input)(inputs)))
        for module in (keras.applications.vgg16, keras.applications.mobilenet)
    }
    assert len(preprocessed) == 2


def scaling_layer(factor, *, base=keras.layers.Layer):
    """Return a layer class as a cell of a notebook defines it, with a number in its code."""
    namespace = {"base": base, "__name__": "__main__"}
    lines = [
        "class Scale(base):",
        "    def call(self, x):",
        f"        return x * {factor}",
        "    def compute_output_shape(self, shape):",
        "        return shape",
    ]
    exec("\n".join(lines), namespace)
    return namespace["Scale"]


def scaled_function(factor):
    namespace = {"__name__": "__main__"}
    exec(f"def scaled(x):\n    return x * {factor}", namespace)
    return namespace["scaled"]


def in_a_wrapper(factor):
    return layers.TimeDistributed(scaling_layer(factor)())


def inside_another_layer(factor):
    inner = scaling_layer(factor)

    class Outer(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.inner = inner()

        def call(self, x):
            return self.inner(x)

    return Outer()


@pytest.mark.parametrize(
    "made",
    [
        lambda factor: scaling_layer(factor)(),
        lambda factor: type("Named", (scaling_layer(factor),), {})(),
        in_a_wrapper,
        inside_another_layer,
        lambda factor: layers.Activation(scaled_function(factor)),
        lambda factor: layers.Dense(2, activation=scaled_function(factor)),
        lambda factor: lambda x: keras.ops.vectorized_map(scaled_function(factor), x),
    ],
    ids=["layer", "base", "wrapped", "inner", "function", "activation", "operation"],
)
def test_a_digest_depends_on_code_that_is_not_kerass_and_not_on_its_name(made):
    def of(factor):
        inputs = keras.Input((3, 4), batch_size=2)
        return graphs.graph_digest(keras.Model(inputs, made(factor)(inputs)))

    assert of(2) == of(2)
    assert of(2) != of(3)


def test_nothing_is_added_to_the_digest_of_layers_of_keras_and_detl():
    # Finished runs, and features on disk, are found by it.
    inputs = keras.Input((16, 16, 3))
    x = layers.Normalization(mean=1.0, variance=2.0)(inputs)
    x = layers.RandomFlip()(x)
    x = layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2")(x)
    x = layers.Lambda(keras.activations.tanh)(FusedBatchNormalization()(x))
    x = layers.Activation(keras.activations.silu)(layers.Reshape((-1, 4))(x))
    x = layers.TimeDistributed(layers.Dense(4, activation="gelu"))(x)
    x = layers.Bidirectional(layers.LSTM(4))(layers.MultiHeadAttention(2, 2)(x, x))
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(4, kernel_constraint="max_norm")])
    inner.compile("adam", "mse")
    model = keras.Model(inputs, keras.ops.sum(inner(x) * 2, axis=1))
    model.predict(np.zeros((1, 16, 16, 3)), verbose=0)
    for node in graphs.model_nodes(model):
        assert graphs._foreign_code(node.operation) == []
        assert graphs._config_of(node.operation) == node.operation.get_config()
