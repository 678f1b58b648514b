"""Files are read side by side, and stay in order."""

import threading

import numpy as np

from detl import images


def test_row_i_is_the_file_of_path_i_in_the_order_given(tmp_path, save):
    # Large files first: they are ready last.
    levels = list(range(40, 240, 5))
    paths = [
        save(tmp_path / f"{level}.png", np.full((5 * (240 - level), 300), level, dtype=np.uint8))
        for level in levels
    ]
    loaded = images.load((str(path) for path in paths), size=(2, 3))
    assert loaded.images[:, 0, 0, 0].tolist() == levels
    assert loaded.paths == tuple(paths)
    assert loaded.labels is None
    assert loaded.skipped == ()


def test_no_thread_and_no_file_stays_open(tmp_path, pixels_of, save):
    path = save(tmp_path / "grey.png", pixels_of(4, 4))
    (tmp_path / "text.png").write_text("no image")
    before = threading.active_count()
    images.load([path, tmp_path / "text.png"], size=(4, 4), on_error="skip")
    assert threading.active_count() == before  # an open file would fail as a ResourceWarning
