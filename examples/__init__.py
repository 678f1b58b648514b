"""Worked examples: each a package that uses detl through its public API alone."""
