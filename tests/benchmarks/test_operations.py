from benchmarks import operations
from detl import backbones


def test_operations_of_a_small_network_are_counted_by_hand():
    network = backbones.vgg16((32, 32, 1), width=1 / 16, normalization=None)
    frozen, forward, training = operations.operations(network)
    sides, channels = (32, 16, 8, 4), (4, 8, 16, 32)
    by_hand, before = 0, 1
    for side, wide, depth in zip(sides, channels, (2, 2, 3, 3)):
        for _ in range(depth):
            by_hand += 2 * side**2 * 9 * before * wide
            before = wide
    assert frozen == by_hand
    convolution = 2 * 2**2 * 9 * 32 * 32
    dense = 2 * (32 * 256 + 256 * 256)
    assert forward == 3 * convolution + dense
    # The first convolution needs no gradient of its inputs, which come from a frozen layer.
    assert training == 3 * forward - convolution
