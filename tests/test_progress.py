"""A bar is drawn where somebody looks, and nowhere else."""

from contextlib import redirect_stderr

import pytest
from tqdm import auto, notebook

from detl import progress
from detl.progress import progress_bar


def run(verbose=1):
    with progress_bar(4, verbose=verbose, description="folds", unit="epoch") as bar:
        bar.update(3)
        bar.update()
    return bar


def test_a_terminal_shows_the_description_and_how_much_is_done(terminal):
    with redirect_stderr(terminal):
        run()
    assert "folds: 100%" in terminal.getvalue()
    assert "4/4" in terminal.getvalue()


@pytest.mark.parametrize("verbose", [0, 1])
def test_a_log_shows_nothing(capfd, verbose):
    run(verbose)
    assert capfd.readouterr() == ("", "")


def test_verbose_0_is_silent_in_a_terminal(terminal):
    with redirect_stderr(terminal):
        run(verbose=0)
    assert terminal.getvalue() == ""


def test_a_notebook_gets_its_own_bar_though_it_is_no_terminal(monkeypatch):
    class Bar(notebook.tqdm_notebook):
        def __init__(self, **settings):
            self.settings = settings

        def __del__(self):
            pass

    monkeypatch.setattr(auto, "tqdm", Bar)
    bar = progress_bar(4, verbose=1, description="folds", unit="epoch")
    assert bar.settings["disable"] is False


def test_what_is_neither_0_nor_1_is_refused():
    with pytest.raises(TypeError, match=r"verbose is list \[1\]; expected 0 or 1"):
        run([1])


def test_what_is_over_within_a_second_shows_no_bar(terminal, monkeypatch):
    monkeypatch.setattr(progress, "SHOWN_AFTER", 1.0)
    with redirect_stderr(terminal):
        run()
    assert terminal.getvalue() == ""
