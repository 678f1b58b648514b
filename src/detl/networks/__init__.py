"""Keras graphs as the library needs them: copied, cut, given a new head, run."""
