"""Arrays and names are known again by what is in them."""

import numpy as np

from detl.storage.digests import array_digest, names_digest


def test_the_digest_of_names_is_of_the_names_and_not_of_their_type():
    words = ["lung", "heart"]
    for same in (
        np.array(words),
        np.array(words, "<U9"),
        np.array(words, object),
        np.array([np.str_(word) for word in words], object),
    ):
        assert names_digest(same) == names_digest(np.array(words))
    numbers = np.array([1, 2])
    for same in (numbers.astype("int8"), numbers.astype(object), np.array([*numbers], object)):
        assert names_digest(same) == names_digest(numbers)
    others = (["heart", "lung"], ["lung", "lung"], ["lung"], [1, 2], ["1", "2"], ["lungheart"])
    assert len({names_digest(np.array(names)) for names in (words, *others)}) == 7


def test_the_digest_of_an_array_is_of_type_shape_and_values(tmp_path):
    array = np.arange(600).reshape(300, 2)
    np.save(tmp_path / "array.npy", array)
    assert array_digest(np.load(tmp_path / "array.npy", mmap_mode="r")) == array_digest(array)
    changed = array.copy()
    changed[299, 1] += 1
    others = [array.astype("float64"), array.reshape(600), changed, array.astype(object)]
    assert len({array_digest(other) for other in (array, *others)}) == 5
