# `make test` and `make demo` do everything on a fresh machine: they need python (3.10 or later), make and git.
SHELL := /bin/bash
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tiny models on few cores: more threads only make them slower.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help setup test proof thorough lint fast demo readme docs matrix dist clean

help:
	@echo "make test   set up, then lint, type check and test"
	@echo "make proof  run every fixture: it must fail as its rule says, and train once it is fixed"
	@echo "make thorough run every fixture under verify, and as our fixes leave it (half an hour)"
	@echo "make demo   set up, then find, prove, explain and fix the problems of two bundled training scripts"
	@echo "make lint   ruff and mypy        make fast   the tests that take no seconds"
	@echo "make readme refresh the generated parts of README.md"
	@echo "make docs   build the documentation, with a page per rule, into build/site"
	@echo "make matrix prove what rules say of versions against old and new releases (downloads them once)"
	@echo "make dist   build wheel and sdist         make clean  remove the environment and caches"

setup: $(STAMP)

# Editable, so that a change of the code needs no new installation; pyproject.toml and the pins do.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no python3 found"; exit 1; }
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "lora-lint needs Python 3.10 or later")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,fixtures]"
	touch $@

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not matrix and not proof and not thorough"

proof: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m proof

thorough: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m thorough

fast: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not torch and not matrix and not proof and not thorough"

demo: $(STAMP)
	$(BIN)/python demo/run.py

readme: $(STAMP)
	$(BIN)/python tools/readme.py

# The site is built strictly, in an environment of its own.
docs: $(STAMP)
	$(BIN)/python tools/docs.py
	NO_MKDOCS_2_WARNING=1 $$($(BIN)/python -m tests.envs docs) -m mkdocs build --quiet

matrix: $(STAMP)
	$(BIN)/python -m pytest -m matrix

dist: $(STAMP)
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
