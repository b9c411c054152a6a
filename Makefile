# Thin on purpose: what these targets do lives in lintrans/publish/book.py and lintrans/publish/cli.py, where it is tested.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

SCALE ?= paper
SLOW ?=
RESULTS ?=
OPTIONS ?=
# processes of pytest
TESTERS ?= 2
# of the fuzzer in `make torture`
INPUTS ?= 5000
PIP_FLAGS ?=
# the first of these that is Python 3.11 or newer
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10
	@echo "options: SCALE=quick (paper), SLOW=1, TESTERS=4 (2), RESULTS=1, PIP_FLAGS='...' for pip, PYTHON=..."

.venv/ready: requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo "make: no Python 3.11 or newer found; python3 is $$(python3 --version 2>&1 || true)." \
		"Install one, or name it: make book PYTHON=/path/to/python" >&2; exit 1; fi
	@echo "installing into .venv (once; two to five minutes)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq $(PIP_FLAGS) -r requirements.lock
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@# so that any JupyterLab of this environment opens and saves chapters as pairs
	@cp lintrans/publish/lab.json .venv/etc/jupyter/jupyter_server_config.json
	@touch $@

setup: .venv/ready  ## the environment in .venv, from requirements.lock

book: .venv/ready  ## execute the chapters and build the pages; SCALE=quick takes a few minutes
	@# the variable, so that chapters can run in copies of this process: see lintrans/publish/forking.py
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/lintrans build --pairs --scale $(SCALE)

pdf: .venv/ready  ## print the built book and its summary as PDF, where Chromium is installed
	@$(BIN)/lintrans pdf --scale $(SCALE)
	@$(BIN)/lintrans pdf --scale $(SCALE) --page summary

test: .venv/ready  ## the tests; SLOW=1 adds chapters, the built site and long laws
	@$(BIN)/python -m pytest -n $(TESTERS) --dist worksteal $(if $(SLOW),--slow)

check: .venv/ready  ## style, types, pairs in sync, lock in step
	$(BIN)/ruff check .
	$(BIN)/ruff format --check -q .
	$(BIN)/mypy
	$(BIN)/lintrans pairs --check
	$(BIN)/python -m pytest -q tests/publish/test_project.py -k lock

bench: .venv/ready  ## time the engines side by side, ten to twenty minutes, and the import; the book shows what it stores
	@$(BIN)/python -m benchmarks.bench
	@$(BIN)/python -m benchmarks.import_time

torture: .venv/ready  ## kill 50 of each, damage, and feed nonsense; OPTIONS='--trainings 10 --books 0' INPUTS=500
	@$(BIN)/python -m benchmarks.torture $(OPTIONS)
	@$(BIN)/python -m benchmarks.fuzz $(INPUTS)

lab: .venv/ready  ## edit chapters in JupyterLab, on this machine only
	@$(BIN)/lintrans pairs
	@$(BIN)/lintrans lab

pairs: .venv/ready  ## bring the two halves of each chapter in step
	@$(BIN)/lintrans pairs

lock: .venv/ready  ## resolve the versions again
	$(BIN)/pip-compile -P torch==2.13.0 -o requirements.lock pyproject.toml
	sed -i.bak 's/+cpu$$//' requirements.lock && rm requirements.lock.bak

clean:  ## remove build/; RESULTS=1 removes stored results as well
	@if [ -n "$(RESULTS)" ]; then $(BIN)/lintrans results remove --all; fi
	rm -rf build

.PHONY: help setup book pdf test check bench torture lab pairs lock clean
