"""What is wrong with an argument is said before anything is computed, and what is right passes."""

import datetime
import decimal
import enum
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pandas
import pytest

from detl import checks

# -------------------------------------------------------------------------------------- numbers


def test_a_choice_is_one_of_those_offered():
    checks.check_choice("mode", "b", ("a", "b", None))
    checks.check_choice("mode", None, ("a", "b", None))
    with pytest.raises(ValueError, match=r"mode='c'; expected one of 'a', 'b', None\."):
        checks.check_choice("mode", "c", ("a", "b", None))
    with pytest.raises(ValueError, match=r"mode=array\(\['a'.*; expected one of 'a', 'b'\."):
        checks.check_choice("mode", np.array(["a", "b"]), ("a", "b"))


def test_a_path_is_text_or_a_path():
    assert checks.check_path("folder", "a/b") == checks.check_path("folder", Path("a", "b"))
    for value in (None, 3, b"a", ["a"], np.array(["a"])):
        kind = type(value).__name__
        with pytest.raises(TypeError, match=f"folder is {kind} .*; expected the path of a file or"):
            checks.check_path("folder", value)


def test_a_number_lies_within_its_bounds():
    for value in (0, 0.5, np.float32(1)):
        checks.check_number("alpha", value, at_least=0, at_most=1)
    for value in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"alpha=.*; .* at least 0 and at most 1\."):
            checks.check_number("alpha", value, at_least=0, at_most=1)
    for value in (0, 1, math.inf):
        with pytest.raises(ValueError, match=r"share=.*; .* number above 0 and below 1\."):
            checks.check_number("share", value, above=0, below=1)
    with pytest.raises(TypeError, match="share is NoneType None; expected a number above 0"):
        checks.check_number("share", None, above=0)


@pytest.mark.parametrize("value", [1, 1e-30, np.float32(0.5), np.int64(3)])
def test_every_number_above_zero_is_positive(value):
    checks.check_positive("rate", value)


@pytest.mark.parametrize("value", [0, -1.5, math.nan, math.inf, np.float64(-0.0)])
def test_other_numbers_are_not_positive(value):
    with pytest.raises(ValueError, match=r"rate=.*; expected a number above 0\."):
        checks.check_positive("rate", value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1", "rate is str '1'"),
        (None, "rate is NoneType None"),
        (True, "rate is bool True"),
        (decimal.Decimal(1), r"rate is Decimal Decimal\('1'\)"),
    ],
)
def test_what_is_no_number_is_not_positive(value, message):
    with pytest.raises(TypeError, match=f"{message}; expected a number above 0"):
        checks.check_positive("rate", value)


@pytest.mark.parametrize("value", [2, np.uint8(2), 10**30])
def test_a_count_is_a_whole_number_from_its_least_value_on(value):
    checks.check_count("n", value, at_least=2)
    with pytest.raises(ValueError, match="n=1; expected at least 2"):
        checks.check_count("n", type(value)(1), at_least=2)


@pytest.mark.parametrize(
    ("value", "message"),
    [(2.0, "n is float 2.0"), (True, "n is bool True"), ("2", "n is str '2'")],
)
def test_what_is_no_whole_number_is_no_count(value, message):
    with pytest.raises(TypeError, match=f"{message}; expected a whole number"):
        checks.check_count("n", value)


# ------------------------------------------------------------------------------------ the shape


@pytest.mark.parametrize("shape", [(32, 40, 1), [224, 224, 3], np.array([32, 32, 3])])
def test_an_input_shape_is_height_width_and_one_or_three_channels(shape):
    checks.check_input_shape(shape, smallest=32)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (224, r"input_shape=224; expected \(height, width, channels\), such as \(224, 224, 1\)"),
        ((224, 224), r"input_shape=\(224, 224\); expected \(height, width, channels\)"),
        ((None, None, 3), r"input_shape=\(None, None, 3\); expected \(height, width, channels\)"),
        ((224, 0, 3), r"input_shape=\(224, 0, 3\); expected \(height, width, channels\)"),
        ((64.0, 64, 3), r"input_shape=\(64.0, 64, 3\); expected \(height, width, channels\)"),
        ("abc", "input_shape='abc'; expected"),
        ((64, 64, 4), r"has 4 channels; expected 1 \(grey\) or 3"),
        ((64, 31, 1), r"too small for this backbone.*use at least 32 x 32 pixels"),
        ((64, 31, 1), r"detl\.images\.resize\(images, size=\(64, 32\)\)"),
    ],
)
def test_other_input_shapes_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        checks.check_input_shape(shape, smallest=32)


# ------------------------------------------------------------------------------------ the images


def pixels(n=2, dtype="uint8"):
    return np.full((n, 3, 4, 1), 200, dtype=dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint16", "float16", "float32", "float64"])
def test_an_array_comes_back_itself(dtype):
    images = pixels(dtype=dtype)
    assert checks.check_images(images, shape=(3, None, 1)) is images


def test_a_list_comes_back_as_an_array():
    np.testing.assert_array_equal(checks.check_images(pixels().tolist()), pixels())


def test_a_memory_map_comes_back_itself_and_is_never_read_whole(tmp_path):
    class Watched(np.memmap):
        reads = []  # noqa: RUF012

        def __getitem__(self, index):
            found = super().__getitem__(index)
            self.reads.append(len(found))
            return found

    for dtype, expected in {
        "float32": [256, 256, 88],
        "uint16": [256, 256, 88],
        "uint8": [],
    }.items():
        Watched.reads.clear()
        np.save(tmp_path / "images.npy", pixels(600, dtype))
        mapped = np.load(tmp_path / "images.npy", mmap_mode="r").view(Watched)
        assert checks.check_images(mapped) is mapped
        assert Watched.reads == expected


@pytest.mark.parametrize(
    ("images", "dtype"),
    [
        (["a.png", "b.png"], "<U5"),
        (pixels() > 0, "bool"),
        (pixels() + 0j, "complex128"),
        ([np.zeros((3, 4, 1)), np.zeros((5, 4, 1))], "object"),
        ([np.zeros((3, 4, 1)), np.zeros((3, 5, 1))], "object"),
    ],
    ids=["names of files", "bool", "complex", "heights differ", "widths differ"],
)
def test_what_is_not_one_array_of_numbers_is_no_images(images, dtype):
    with pytest.raises(TypeError, match=rf"photos has dtype {dtype}; .*detl\.images\.load resizes"):
        checks.check_images(images, name="photos")


class Dataset:
    """What is taken for a tf.data.Dataset."""

    def as_numpy_iterator(self):
        return iter([(pixels(), [0])])


def test_images_in_another_container_are_told_how_to_become_an_array():
    with pytest.raises(
        TypeError, match=r"X is a tf\.data\.Dataset; .*np\.concatenate\(\[x for x, _ i"
    ):
        checks.check_images(Dataset(), name="X")
    column = np.empty(2, dtype=object)
    column[:] = list(pixels()[:2])
    with pytest.raises(TypeError, match=r"X has dtype object; .*of one size: np\.stack\(X\) makes"):
        checks.check_images(column, name="X")
    column[1] = column[1][:2]
    with pytest.raises(TypeError, match=r"Images of different sizes do not form one array"):
        checks.check_images(column, name="X")
    for container in ({"images": pixels()}, (image for image in pixels()), None):
        kind = type(container).__name__
        with pytest.raises(TypeError, match=f"X is a {kind}; expected numbers, uint8 or float"):
            checks.check_images(container, name="X")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 4), r"photos has shape \(5, 4\); expected \(n, height, width, channels\)\.$"),
        (
            (5, 4, 4),
            r"expected \(n, .*\)\. One image: photos\[np\.newaxis\]; grey .* photos\[\.\.\., np",
        ),
        ((1, 2, 5, 4, 4), r"photos has shape \(1, 2, 5, 4, 4\); expected \(n, height, width"),
        ((5, 3, 4, 3), r"photos has shape \(5, 3, 4, 3\), but the model takes \(n, any, 4, 1\);"),
        ((5, 3, 6, 1), r"but the model takes \(n, any, 4, 1\); bring the images to that size"),
        ((0, 3, 4, 1), "photos is empty; expected at least one image"),
    ],
)
def test_images_of_another_shape_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        checks.check_images(np.zeros(shape, "uint8"), name="photos", shape=(None, 4, 1))


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("row", [0, 255, 256, 520])
@pytest.mark.parametrize("any_scale", [True, False])
def test_the_first_row_that_is_not_finite_is_named(broken, row, any_scale):
    images = pixels(600, "float32")
    images[[row, 550], 2, 3] = broken
    with pytest.raises(ValueError, match=f"photos contains NaN or infinity, first in row {row};"):
        checks.check_images(images, name="photos", any_scale=any_scale)


def spanning(low, high, n=600):
    """Return images of one value, but for one pixel in the first batch and one in the last."""
    images = np.full((n, 3, 4, 1), (low + high) / 2, dtype="float64")
    images[1, 0, 0], images[-1, 2, 3] = low, high
    return images


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0.25, 0.5), (0, 0)])
def test_floats_within_minus_one_and_one_are_warned_of(low, high):
    message = rf"photos are floats in \[{low}, {high}\], but pixels are expected in \[0, 255\]"
    with pytest.warns(UserWarning, match=message):
        checks.check_images(spanning(low, high), name="photos")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_images(spanning(low, high), any_scale=True)


@pytest.mark.parametrize(("low", "high"), [(0, 1.01), (0, 255), (-0.4, 255.4)])
def test_floats_beyond_are_not(low, high):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_images(spanning(low, high))


def test_dark_bytes_and_one_black_image_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_images(pixels() // 200)
        checks.check_images(np.zeros((1, 3, 4, 1), "float32"))


@pytest.mark.parametrize(
    ("low", "high", "dtype", "kind"),
    [
        (0, 65535, "uint16", "integers"),
        (0, 256, ">u2", "integers"),
        (-1, 100, "int8", "integers"),
        (-1024, 3071, "int16", "integers"),
        (0, 256, "int64", "integers"),
        (-1.01, 1, "float64", "floats"),
        (-2.1, 2.6, "float64", "floats"),
        (0, 255.6, "float32", "floats"),
    ],
)
def test_pixels_outside_0_and_255_are_warned_of(low, high, dtype, kind):
    images = spanning(low, high).astype(dtype)
    message = rf"photos are {kind} in \[{low}, {high}\], but pixels are expected in \[0, 255\]"
    with pytest.warns(UserWarning, match=f"{message}.* 16 bits by dividing by 257"):
        checks.check_images(images, name="photos")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_images(images, any_scale=True)


@pytest.mark.parametrize("dtype", ["uint16", "int8", "int64"])
def test_integers_within_are_not(dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checks.check_images(spanning(0, min(255, np.iinfo(dtype).max)).astype(dtype))


# ------------------------------------------------------------------------------------ the labels


@pytest.mark.parametrize(
    "labels",
    [
        ["b", "a", "nan"],
        [2, -1, 0],
        (True, False, True),
        [0.5, 1.5, 0.5],
        np.array(["b", "a", "None"], dtype=object),
        np.array(["2020-01-01"] * 3, dtype="datetime64[D]"),
    ],
    ids=["str", "int", "bool", "float", "object", "dates"],
)
def test_labels_of_any_kind_come_back_in_their_order(labels):
    for n in (None, 3):
        found = checks.check_labels(labels, n)
        assert isinstance(found, np.ndarray)
        assert found.tolist() == np.asarray(labels).tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"] * 4, "4 sites for 3 rows; expected one entry per image"),
        ("abc", r"sites has shape \(\); expected \(3,\), one entry per image\.$"),
        ([[1], [0], [1]], r"expected \(3,\), .* \(a column: use np\.ravel\(sites\)\)\.$"),
        (np.eye(3), r"\(one-hot labels: use labels\.argmax\(axis=1\)\)\.$"),
        (np.zeros((3, 1, 1)), r"sites has shape \(3, 1, 1\); expected \(3,\), one entry per im"),
    ],
)
def test_labels_of_another_shape_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        checks.check_labels(labels, 3, name="sites", of="rows")


def test_without_a_number_of_images_only_the_form_is_told():
    with pytest.raises(ValueError, match=r"labels has shape \(2, 2\); expected \(n,\), one entry"):
        checks.check_labels(np.eye(2))


class NotAvailable:
    """Like pandas.NA, neither equal to itself nor not."""

    __hash__ = None

    def __eq__(self, other):
        raise TypeError("boolean value of NA is ambiguous")

    def __repr__(self):
        return "<NA>"


@pytest.mark.parametrize(
    "labels",
    [
        [1.0, 0.0, math.nan],
        [1, 0, None],
        ["a", "b", None],
        ["a", "b", math.nan],
        np.array(["a", "b", math.nan], dtype=object),
        ["a", "b", NotAvailable()],
        np.array(["2020-01-01", "2020-01-02", "NaT"], dtype="datetime64[D]"),
        np.array([1, 2, "NaT"], dtype="timedelta64[D]"),
    ],
    ids=repr,
)
def test_a_missing_label_is_refused_with_its_row(labels):
    with pytest.raises(ValueError, match=r"sites has a missing value \(NaN or None\) in row 2\."):
        checks.check_labels(labels, 3, name="sites")


def test_labels_without_a_common_order_are_refused():
    labels = np.array(["a", 1, 2.5], dtype=object)
    with pytest.raises(
        TypeError, match=r"sites mixes float and int and str.*\[str\(value\) for value in sites\]"
    ):
        checks.check_labels(labels, name="sites")


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([np.int64(3), np.int64(1)], "int64"),
        ([np.float32(0.5), np.float32(1)], "float64"),
        ([np.int8(3), np.float64(1.5)], "float64"),
        ([np.bool_(True), np.bool_(False)], "bool"),
        ([np.int64(3), 1], "object"),
        ([np.uint64(2**63 + 1), np.int64(-1)], "object"),
        ([3, 1], "object"),
        (["b", "a"], "object"),
    ],
)
def test_numpys_numbers_in_an_array_of_objects_become_plain_ones(values, dtype):
    labels = np.empty(2, dtype=object)
    labels[:] = values
    found = checks.check_labels(labels)
    assert found.dtype == dtype
    assert found.tolist() == values
    assert json.loads(json.dumps(found.tolist())) == values


class Finding(str, enum.Enum):  # noqa: UP042, of which str() is no value
    BACTERIAL = "bact."
    VIRAL = "viral"
    VIRAL_OTHER = "other"


class Grade(enum.IntEnum):
    LOW = 1
    HIGH = 2


@pytest.mark.parametrize("kind", [list, tuple, lambda values: np.array(values, dtype=object)])
def test_members_of_an_enum_become_their_values(kind):
    found = checks.check_labels(kind([Finding.VIRAL, Finding.VIRAL_OTHER, Finding.BACTERIAL]))
    assert found.tolist() == ["viral", "other", "bact."]
    assert {type(value) for value in found.tolist()} == {str}
    assert checks.check_labels(kind([Grade.HIGH, Grade.LOW])).tolist() == [2, 1]


def test_whole_numbers_of_a_list_that_floats_would_merge_stay_apart():
    found = checks.check_labels([2**53, 2**53 + 1, 0.5])
    assert found.tolist() == [2**53, 2**53 + 1, 0.5]
    assert len(np.unique(found)) == 3


@pytest.mark.parametrize("values", [[12, 12.0, "P3"], [True, "yes"], ["P1", "P2", 3]])
def test_numbers_and_text_in_one_list_are_refused_as_in_an_array_of_objects(values):
    for given in (values, tuple(values), np.array(values, dtype=object)):
        with pytest.raises(TypeError, match=r"groups mixes .* and str, .*\[str\(value\) for value"):
            checks.check_labels(given, name="groups")


def test_lists_as_labels_are_refused_by_name():
    with pytest.raises(ValueError, match="groups holds lists; expected one entry per image"):
        checks.check_labels([[1], [1, 2]], name="groups")


def test_labels_that_are_arrays_are_refused():
    labels = pandas.Series([np.array([1, 2]), np.array([2, 1])])
    with pytest.raises(ValueError, match="labels holds lists or arrays; expected one entry per"):
        checks.check_labels(labels)


def test_a_masked_label_is_missing():
    labels = np.ma.array(["a", "b", "c"], mask=[False, True, False])
    with pytest.raises(ValueError, match=r"labels has a missing value .* in row 1"):
        checks.check_labels(labels)
    assert checks.check_labels(np.ma.array([1, 2])).tolist() == [1, 2]


def test_pairs_of_names_are_told_to_be_joined():
    pairs = [("Hannover", 1), ("Turin", 1)]
    with pytest.raises(ValueError, match=r"groups has shape \(2, 2\).*join them, as in \['/'.join"):
        checks.check_labels(pairs, name="groups")
    with pytest.raises(ValueError, match="several names each"):
        checks.check_labels(np.array([[1, 7], [2, 7]]), name="groups")


@pytest.mark.parametrize(
    "labels",
    [
        [b"normal", b"ill"],
        [Path("normal"), Path("ill")],
        [decimal.Decimal(1), decimal.Decimal(2)],
        [1j, 2j],
        [0.5, math.inf],
        np.array(["2020-01-01", "2021-01-01"], dtype="datetime64[ns]"),
        np.array(["2020-01-01", "2021-01-01"], dtype="datetime64[D]"),
        np.array([1, 2], dtype="timedelta64[D]"),
        np.array([datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)], dtype=object),
        np.array([np.datetime64("2020-01-01"), np.datetime64("2021-01-01")], dtype=object),
    ],
    ids=repr,
)
def test_what_a_file_cannot_hold_is_no_class(labels):
    with pytest.raises(TypeError, match=r"cannot be saved .*; give strings, such as \[str\(label"):
        checks.check_classes(checks.check_labels(labels))


def test_classes_are_sorted_and_each_label_has_its_index_in_them():
    labels = np.array(["lung", "heart", "bone", "heart"])
    classes, indices = checks.check_classes(labels)
    assert classes.tolist() == ["bone", "heart", "lung"]
    assert indices.tolist() == [2, 1, 0, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "labels are empty; expected one entry per image"),
        (["lung"] * 3, "labels has one class only, 'lung'; a classifier needs at least two"),
        ([7, 7], "labels has one class only, 7;"),
    ],
)
def test_fewer_than_two_classes_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        checks.check_classes(np.array(labels))
