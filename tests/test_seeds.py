"""Seeds come from where they are said to."""

import numpy as np
import pytest

from detl.seeds import integer_seed, seed_sequence


def state(random_state):
    return seed_sequence(random_state).generate_state(4).tolist()


@pytest.mark.parametrize("seed", [0, 7, 2**40])
def test_a_whole_number_is_the_entropy_itself(seed):
    expected = np.random.SeedSequence(seed).generate_state(4).tolist()
    assert state(seed) == state(np.int64(seed)) == expected


@pytest.mark.parametrize("kind", [np.random.default_rng, np.random.RandomState])
def test_a_generator_gives_what_it_would_draw_next(kind):
    first, again = kind(3), kind(3)
    drawn = [state(first), state(first)]
    assert drawn == [state(again), state(again)]
    assert drawn[0] != drawn[1]


def test_a_seed_sequence_stays_what_it_is():
    sequence = np.random.SeedSequence(5).spawn(2)[1]
    assert seed_sequence(sequence) is sequence


def test_without_a_random_state_every_seed_is_another():
    assert state(None) != state(None)


@pytest.mark.parametrize("random_state", [-1, 1.5, "0", np.random])
def test_other_random_states_are_refused(random_state):
    with pytest.raises(ValueError, match=r"random_state=.*; expected a whole number >= 0, a numpy"):
        seed_sequence(random_state)


def test_integer_seeds_are_31_bits_wide_spread_over_them_and_not_used_up():
    children = np.random.SeedSequence(0).spawn(1000)
    seeds = [integer_seed(child) for child in children]
    assert seeds == [integer_seed(child) for child in children]
    assert len(set(seeds)) == 1000
    assert 0 <= min(seeds) < 0.01 * 2**31
    assert 0.99 * 2**31 < max(seeds) < 2**31
