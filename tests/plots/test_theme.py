"""All pictures have the same colours and the same sizes of text."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from detl.plots import theme


def test_the_palette_is_that_of_okabe_and_ito():
    # Okabe, Ito 2008, "Color Universal Design", the table of colours in RGB, 0 to 255.
    table = {
        theme.BLACK: (0, 0, 0),
        theme.ORANGE: (230, 159, 0),
        theme.SKY: (86, 180, 233),
        theme.GREEN: (0, 158, 115),
        theme.YELLOW: (240, 228, 66),
        theme.BLUE: (0, 114, 178),
        theme.VERMILION: (213, 94, 0),
        theme.PURPLE: (204, 121, 167),
    }
    for colour, expected in table.items():
        np.testing.assert_allclose(to_rgb(colour), np.array(expected) / 255, atol=1e-9)
    assert set(theme.PALETTE) == set(table) - {theme.BLACK}


@pytest.mark.parametrize("n", [1, 7, 8, 30])
def test_no_two_colours_are_equal(n):
    assert len(set(theme.colours(n))) == n


def test_many_colours_are_steps_of_luminance():
    luminance = [np.dot(to_rgb(colour), [0.299, 0.587, 0.114]) for colour in theme.colours(12)]
    assert (np.diff(luminance) > 0).all()


def test_sizes_follow_the_font_size_of_the_reader():
    import matplotlib
    from matplotlib.figure import Figure

    sizes = []
    for size in (8, 16):
        with matplotlib.rc_context({"font.size": size}):
            axis = Figure().subplots()
            axis.set_title("title")
            theme.finish(axis)
            sizes.append([axis.title.get_fontsize(), axis.xaxis.label.get_fontsize()])
    assert sizes == [[8, 8], [16, 16]]
