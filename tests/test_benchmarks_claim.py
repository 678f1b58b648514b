import numpy as np

from benchmarks import claim


def test_few_target_images_are_so_many_of_each_class_without_repeats():
    labels = np.array(["a"] * 30 + ["b"] * 5)
    rows = np.arange(1, 35)
    found = claim.some(rows, labels, 7, np.random.default_rng(0))
    assert len(set(found.tolist())) == len(found) == 7 + 5
    assert set(found) <= set(rows)
    assert (labels[found] == "a").sum() == 7
    again = claim.some(rows, labels, 7, np.random.default_rng(0))
    np.testing.assert_array_equal(found, again)


def test_a_curve_is_drawn_of_sources_with_several_numbers_of_images_only(tmp_path):
    once = {claim.FROZEN: {claim.ALL: (0.5, 0.4, 0.6)}}
    claim.draw(tmp_path / "none.png", once, 1000)
    assert not (tmp_path / "none.png").exists()
    curves = once | {claim.ADULTS: {claim.ALL: (0.5, 0.4, 0.6), 10: (0.3, 0.2, 0.4)}}
    claim.draw(tmp_path / "curves.png", curves, 1000)
    assert (tmp_path / "curves.png").stat().st_size > 1000
