"""A mask has the pixels that lie in a box."""

import numpy as np
import pandas
import pytest

from detl import faithfulness


def test_a_mask_has_the_pixels_whose_centres_are_in_a_box():
    boxes = [[(0.4, 1.6, 3.2, 2.0)], [(-2, 3.5, 4, 9), (5.5, 0.5, 1.0, 1.0)]]
    masks = faithfulness.box_masks(boxes, (6, 7))

    for mask, of_image in zip(masks, boxes, strict=True):
        for row in range(6):
            for column in range(7):
                inside = [
                    x <= column + 0.5 < x + width and y <= row + 0.5 < y + height
                    for x, y, width, height in of_image
                ]
                assert mask[row, column] == any(inside)


def test_a_box_between_the_centres_is_the_pixel_in_its_middle():
    masks = faithfulness.box_masks([(2.6, 1.7, 0.3, 0.4), (7.8, 7.9, 5, 5)], (8, 8))

    np.testing.assert_array_equal(np.argwhere(masks), [[0, 1, 2], [1, 7, 7]])


def test_boxes_may_be_one_array():
    boxes = np.array([[1, 2, 3, 4], [0, 0, 2, 2]])

    masks = faithfulness.box_masks(boxes, (8, 8))

    np.testing.assert_array_equal(masks.sum(axis=(1, 2)), [12, 4])


def test_boxes_may_be_the_columns_of_a_data_frame():
    boxes = np.array([[1, 2, 3, 4], [0, 0, 2, 2]])
    table = pandas.DataFrame(boxes, columns=["x", "y", "w", "h"], index=["first.png", "second.png"])
    expected = faithfulness.box_masks(boxes, (8, 8))

    np.testing.assert_array_equal(faithfulness.box_masks(table, (8, 8)), expected)
    per_image = [table.iloc[:1], table.iloc[1]]
    np.testing.assert_array_equal(faithfulness.box_masks(per_image, (8, 8)), expected)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((0, 0, 0, 3), r"\(0, 0, 0, 3\) in row 1; expected .* with an area"),
        ((9, 0, 2, 2), "a box within 8 x 8 pixels. Scale boxes of the original"),
        ((-3, 0, 2, 2), "in row 1"),
        ((np.nan, 0, 2, 2), "nan"),
        ("wide", r"boxes has 'wide' in row 1; expected \(x, y"),
        (None, "boxes has None in row 1"),
        ((1, 2, 3), r"\(1, 2, 3\) in row 1; expected \(x, y, width, height\)"),
    ],
)
def test_a_box_that_is_none_is_refused(box, message):
    with pytest.raises(ValueError, match=message):
        faithfulness.box_masks([(0, 0, 2, 2), box], (8, 8))


@pytest.mark.parametrize("boxes", [None, 3, "boxes"])
def test_what_holds_no_boxes_is_refused(boxes):
    with pytest.raises(TypeError, match=r"^boxes is .*; expected \(x, y, width, height\) for each"):
        faithfulness.box_masks(boxes, (8, 8))


@pytest.mark.parametrize(
    "size", [None, 8, (8,), (8, 8, 1), (True, True), (8, 0), (8.0, 8), ("8", 8)]
)
def test_a_size_is_height_and_width(size):
    with pytest.raises((TypeError, ValueError), match=r"^size.*; expected"):
        faithfulness.box_masks([(0, 0, 2, 2)], size)
