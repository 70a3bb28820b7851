# The two commands a newcomer needs: `make quickstart` and `make test`. `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BASELINE := tests/performance/baselines/cpu.json
STAMP := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test lint types check bench lock clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

quickstart: $(STAMP)  ## train, evaluate and score the embedded suite (a minute and a half, no data to download)
	$(BIN)/shiftcast run quickstart

test: $(STAMP)  ## run every test
	$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)  ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## strict type check
	$(BIN)/mypy

check: lint types test  ## everything a change must pass
	$(BIN)/shiftcast leaderboard --check

bench: $(STAMP)  ## time everything, and compare it with the stored times of the same processor
	@mkdir -p outputs
	$(BIN)/python -m pytest -q -o python_files='bench_*.py' --benchmark-json=outputs/bench.json \
	  --benchmark-columns=min,median,rounds --benchmark-sort=name tests/performance/bench
	@test -f $(BASELINE) || { mkdir -p $(dir $(BASELINE)) && cp outputs/bench.json $(BASELINE) && echo "no baseline before: $(BASELINE) is this session"; }
	$(BIN)/shiftcast bench compare $(BASELINE) outputs/bench.json $(ARGS)

setup: $(STAMP)  ## create .venv with the locked requirements

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Shiftcast needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv module is missing. On Debian or Ubuntu: sudo apt-get install python3-venv"; exit 1; }
	@echo "Installing the locked requirements into $(VENV) (PyTorch with its CUDA libraries: about 5 GB) …"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lock:  ## renew requirements.lock (needs uv)
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade \
	  --python-version 3.11 --extra train --extra page --extra dev pyproject.toml -o requirements.lock

clean:  ## remove the environment and everything generated outside results/
	rm -rf $(VENV) outputs dist .pytest_cache .mypy_cache .ruff_cache
