# Commands of the project; `make` alone lists them.
PYTHON ?= python3
CONFIG ?=
CORES ?= all
TARGET ?=
VENV := .venv
PACKAGES := $(VENV)/.packages
READY := $(VENV)/.ready
BIN := $(VENV)/bin
SCHEMA := src/boundcheck/planning/config.schema.json
VALID = $(if $(CONFIG),python -m boundcheck validate --configfile $(CONFIG) > /dev/null)
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help reproduce resume test lint docs lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo "  variables: CONFIG=config/paper.yaml (overlays), CORES=$(CORES), PYTHON=$(PYTHON)"

$(PACKAGES): envs/requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "boundcheck needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| { echo "this Python has no venv module; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "creating $(VENV) from envs/requirements.lock (about 6 GB, some minutes)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r envs/requirements.lock
	@touch $@

$(READY): $(PACKAGES) pyproject.toml
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

reproduce: $(READY) ## run the default scale: data, training, measurements, checks, report
	@$(VALID)
	@snakemake --cores $(CORES) --scheduler greedy --quiet reason --show-failed-logs $(if $(CONFIG),--configfile $(CONFIG))

resume: $(READY) ## continue a run that was killed on another machine
	@python -m boundcheck idle
	@$(VALID)
	@snakemake --unlock $(if $(CONFIG),--configfile $(CONFIG))
	@snakemake $(TARGET) --cores $(CORES) --show-failed-logs --rerun-incomplete $(if $(CONFIG),--configfile $(CONFIG))

test: $(READY) ## run all tests
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 python -m pytest -n $(if $(filter all,$(CORES)),auto,$(CORES)) --dist loadgroup

lint: $(READY) ## run ruff, mypy, snakefmt and snakemake --lint
	@ruff check .
	@ruff format --check .
	@mypy
	@snakefmt --check Snakefile workflow
	@snakemake --lint

docs: $(READY) ## rewrite the schema and the lists of kinds, claims and verdicts
	@python -m boundcheck schema > $(SCHEMA).part && mv $(SCHEMA).part $(SCHEMA)
	@python -m boundcheck kinds > config/kinds.md.part && mv config/kinds.md.part config/kinds.md
	@python -m boundcheck claims > config/claims.md.part && mv config/claims.md.part config/claims.md
	@python -m boundcheck reference

lock: $(READY) ## resolve envs/requirements.in again: requirements.lock, boundcheck.yaml
	@python -m pip install --quiet --disable-pip-version-check uv
	@uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --python-version 3.11 \
		envs/requirements.in --output-file envs/requirements.lock
	@python envs/conda_from_lock.py

clean: ## remove results, reports, logs and arrays; keep reports/reference, downloads and .venv
	@rm -rf results logs .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@rm -rf data/specs data/*/arrays.safetensors
	@find reports -mindepth 1 -maxdepth 1 ! -name reference -exec rm -rf {} +
