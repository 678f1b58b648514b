"""The graph of a model is walked and cut without changing the model."""

import keras
import numpy as np
import pytest
from keras import layers

from detl.networks import graphs


def producer(tensor):
    return graphs.layer_of(tensor).name


# ------------------------------------------------------------------------------------ walking


def test_nodes_come_after_those_they_depend_on_and_once_each(residual_network):
    model = residual_network
    order = graphs.model_nodes(model)
    position = {id(tensor): i for i, node in enumerate(order) for tensor in node.outputs}
    assert len({id(node) for node in order}) == len(order) == 10
    for index, node in enumerate(order):
        for tensor in node.input_tensors:
            assert position.get(id(tensor), -1) < index


def test_nodes_stop_at_the_given_inputs(residual_network):
    model = residual_network
    start = model.get_layer("sum").output
    between = graphs.nodes(list(model.outputs), [start])
    assert [node.operation.name for node in between][1:] == ["top", "pool", "dropout", "head"]
    assert between[0].operation.name.startswith("flip")


def test_a_graph_is_a_functional_or_built_sequential_model(residual_network):
    class Subclassed(keras.Model):
        pass

    assert graphs.is_graph(residual_network)
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
