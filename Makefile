# make example   the whole method on drawn phantoms, in a few minutes
# make test      the whole test suite, but for the slow tests
# make coverage  the same, and which lines it never ran; a fifth slower
# make slow      the slow tests: the worked example, the pages, reports in a browser
# make lint      style, types and the layers of the imports
# make docs      the documentation, in docs/_build/html
# make package   wheel and sdist, checked, and the wheel tried in an environment of its own
# make benchmark most timings that the documentation shows; hours, on a machine left alone
# Each sets up what it needs in .venv first; PYTHON picks the interpreter (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Errors only: TensorFlow greets with a page of notices about the machine.
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help example test coverage slow lint docs package benchmark clean
.DELETE_ON_ERROR:
# Pattern-made stamps would otherwise be taken for intermediate files and removed.
.SECONDARY:

help:
	@sed -n 's/^# make/make/p' Makefile

example: $(VENV)/.installed-report
	$(BIN)/python -m examples.covid_chest_xray --profile phantoms

# Two processes side by side, of one thread each: the networks are too small to share out. Worksteal leaves
# the tests of a file together, which share what they train.
test coverage slow: export TF_NUM_INTRAOP_THREADS ?= 1
test coverage slow: export OMP_NUM_THREADS ?= 1
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

coverage: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term

slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m slow

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-dev
	rm -rf docs/api/generated docs/gallery  # pages of names that are gone would fail the build
	$(BIN)/sphinx-build -W --keep-going -q docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

# Far from the checkout, so that the wheel is imported, and run on what the README shows.
package: $(VENV)/.installed-dev
	rm -rf dist $(VENV)-wheel
	$(BIN)/python -m build --quiet
	$(BIN)/twine check --strict dist/*
	$(PYTHON) -m venv $(VENV)-wheel
	$(VENV)-wheel/bin/python -m pip install --quiet --disable-pip-version-check "$$(ls $$PWD/dist/*.whl)[report]"
	sed -n '/^```python/,/^```$$/{/^```/d;p}' README.md > dist/readme.py
	cd dist && ../$(VENV)-wheel/bin/python -c 'import detl; print("detl", detl.__version__, detl.__file__)'
	cd dist && ../$(VENV)-wheel/bin/python readme.py

# What needs radiographs, or the other libraries of Grad-CAM, says in its first lines how to run it.
TIMINGS := import_time journey operations decoding normalization_speed precision frozen_trunk tail_floor tail_trials \
  input_pipeline onednn feature_classifiers target_stage default_stage source_speed many_folds audit_time scale strategies \
  kept_heatmaps folding probe_threads

benchmark: $(VENV)/.installed-benchmark
	for name in $(TIMINGS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done

clean:
	rm -rf $(VENV) $(VENV)-wheel dist docs/_build docs/api/generated docs/gallery docs/generated .coverage htmlcov

# One stamp per extra; an editable install only goes stale with pyproject.toml.
$(VENV)/.installed-%: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and \
	  f"detl needs Python 3.11 or newer, but $(PYTHON) is {v.major}.{v.minor}; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@
