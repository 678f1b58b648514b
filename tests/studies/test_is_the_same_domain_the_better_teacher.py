import numpy as np

from studies.is_the_same_domain_the_better_teacher import run as claim


def test_few_target_images_are_so_many_of_each_class_without_repeats():
    labels = np.array(["a"] * 30 + ["b"] * 5)
    rows = np.arange(1, 35)
    found = claim.some(rows, labels, 7, np.random.default_rng(0))
    assert len(set(found.tolist())) == len(found) == 7 + 5
    assert set(found) <= set(rows)
    assert (labels[found] == "a").sum() == 7
    again = claim.some(rows, labels, 7, np.random.default_rng(0))
    np.testing.assert_array_equal(found, again)


def test_a_curve_shows_accuracy_and_interval_of_sources_with_several_numbers_of_images():
    once = {claim.FROZEN: {claim.ALL: (0.5, 0.4, 0.6)}}
    assert claim.draw(once, 1000) is None
    curves = once | {claim.ADULTS: {claim.ALL: (0.5, 0.35, 0.6), 10: (0.3, 0.2, 0.45)}}
    (axis,) = claim.draw(curves, 1000).axes
    (container,) = axis.containers
    assert container.get_label() == claim.ADULTS
    line, _, (bars,) = container
    # All: of 1000 images in four classes and five folds 200 of each are trained on.
    np.testing.assert_allclose(line.get_xydata(), [(10, 0.3), (200, 0.5)])
    ends = [[(10, 0.2), (10, 0.45)], [(200, 0.35), (200, 0.6)]]
    np.testing.assert_allclose(bars.get_segments(), ends)
    assert [text.get_text() for text in axis.get_xticklabels()] == ["10", "all (200)"]
