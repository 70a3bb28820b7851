# The two commands a newcomer needs: `make quickstart` and `make test`. `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BASELINE := tests/performance/baselines/cpu.json
STAMP := $(VENV)/.ready
PARALLEL := -n logical --dist worksteal --benchmark-disable

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-fast docs lint types check bench gate lowest newest faults fuzz lock clean

help:  ## show this list
	@grep -hE '^[a-z ]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

quickstart: $(STAMP)  ## train, evaluate and score the embedded suite (about four minutes, no data to download)
	$(BIN)/shiftcast run quickstart

test: $(STAMP)  ## run every test, in a process a core
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-fast: $(STAMP)  ## run the tests that take little (two minutes)
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow" $(ARGS)

docs: $(STAMP)  ## build the documentation as a site, in outputs/docs
	$(BIN)/mkdocs build --quiet

lint: $(STAMP)  ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## strict type check
	$(BIN)/mypy

check: lint types test  ## everything a change must pass
	$(BIN)/shiftcast leaderboard --check

SESSION = $(BIN)/python -m pytest -q -o python_files='bench_*.py' --benchmark-columns=min,median,rounds \
  --benchmark-sort=name tests/performance/bench --benchmark-json

bench: $(STAMP)  ## time everything, and compare it with the stored times of the same processor
	@mkdir -p outputs
	$(SESSION) outputs/bench.json
	@test -f $(BASELINE) || { mkdir -p $(dir $(BASELINE)) && cp outputs/bench.json $(BASELINE) && echo "no baseline before: $(BASELINE) is this session"; }
	$(BIN)/python tests/performance/compare.py $(BASELINE) outputs/bench.json $(ARGS)

gate: $(STAMP)  ## fail if something is slower than this processor's stored times, in each of three sessions
	@$(BIN)/python tests/performance/processor.py $(BASELINE); \
	case $$? in 0) ;; 3) exit 0;; *) exit 1;; esac; \
	rm -rf outputs/gate; mkdir -p outputs/gate; \
	for session in 1 2 3; do \
	  $(SESSION) outputs/gate/$$session.json || exit 1; \
	  $(BIN)/python tests/performance/compare.py $(BASELINE) outputs/gate/*.json --check && exit 0; \
	  echo "gate: that was session $$session of 3, of which the best times count"; \
	done; exit 1

lowest newest: ## every test but those in tests/performance, with the oldest or the newest versions allowed (needs uv)
	@command -v uv >/dev/null || { echo "uv is missing: https://docs.astral.sh/uv/, or pip install uv"; exit 1; }
	uv venv --quiet --clear --python $(PYTHON) $(VENV)-$@
	uv pip install --quiet --python $(VENV)-$@/bin/python --editable '.[train,page,dev]' \
	  --resolution $(if $(filter lowest,$@),lowest-direct,highest)
	$(VENV)-$@/bin/python -m pytest --ignore tests/performance $(if $(filter lowest,$@),-W ignore::DeprecationWarning) $(ARGS)

faults: $(STAMP)  ## kill, fill up, cut off: a hundred kills, and disks that fail (twenty minutes, root for the disks)
	SHIFTCAST_FAULTS=100 $(BIN)/python -m pytest -q -s tests/faults $(ARGS)

fuzz: $(STAMP)  ## a million malformed inputs for everything that reads files (half an hour; ARGS='--only run --inputs 1000')
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet atheris==3.0.0
	$(BIN)/python tests/fuzz/fuzz.py $(ARGS)

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
	  --python-version 3.11 --extra train --extra page --extra docs --extra dev pyproject.toml -o requirements.lock

clean:  ## remove the environment and everything generated outside results/
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-newest outputs dist .pytest_cache .mypy_cache .ruff_cache .benchmarks
