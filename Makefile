# Every target works in a fresh clone. To choose: PYTHON, VENV, SEEDS, MINUTES, and ARGS (further arguments of demo, test,
# test-ui, bench, chaos, soak and lock).

VENV ?= .venv
ARGS ?=
SEEDS ?= 1
MINUTES ?= 10

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet
INSTALLED := $(VENV)/.installed
LOCK := config/requirements.txt
DEV_LOCK := config/requirements-dev.txt

# The first that runs: a name on PATH may be an older Python, or a shim without an interpreter.
USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	if $$name -c '$(USABLE)' 2>/dev/null; then echo $$name; break; fi; done)

# Universal: one file for every system and Python from 3.11 on, without index addresses.
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --annotation-style line --custom-compile-command 'make lock'

.PHONY: help setup demo test unit test-ui pictures bench bench-quick chaos soak lint format lock clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## create .venv with the locked packages and this project, once

$(INSTALLED): pyproject.toml $(LOCK) $(DEV_LOCK)
	$(if $(PYTHON),,$(error No Python 3.11 or newer with pip and venv was found. Install one, or set PYTHON=/path/to/python))
	@echo 'Setting up $(VENV) with $(PYTHON) (under a minute, once)'
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --require-hashes --requirement $(DEV_LOCK)
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## run everything on this machine with sample orders; ARGS=--help lists its flags
	@$(BIN)/allocation demo $(ARGS)

test: setup ## run all tests, one process per core (at most four); ARGS='-k words' selects some
	@echo 'Running all tests: unit, real servers and processes, whole systems; six to eight minutes on two cores.'
	@echo 'They bring their own servers on free ports, and leave nothing behind.'
	@$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

unit: setup ## run the tests that need no server, in under a minute
	@$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --quiet tests/unit tests/test_docs.py tests/test_house.py \
		tests/test_glossary.py tests/test_monitoring.py $(ARGS)

test-ui: setup ## run the tests of alerts and pages; needs prometheus and chromium, and five minutes
	@$(BIN)/python -m pytest tests/ui $(ARGS)

pictures: setup ## write the pictures of the docs from the demo's data; needs chromium
	@$(BIN)/python -m tests.ui.pictures

bench: setup ## compare with Celery, Dramatiq and taskiq (18 minutes); ARGS='--json FILE' saves the figures
	@$(BIN)/python -m tests.perf.bench $(ARGS)

bench-quick: setup ## a short version of bench, under a minute
	@$(BIN)/python -m tests.perf.bench --quick $(ARGS)

chaos: setup ## run fault scenarios under load; SEEDS=N repeats each with N seeds
	@$(BIN)/python -m tests.perf.chaos --seeds $(SEEDS) $(ARGS)

soak: setup ## run orders, faults and restarts for MINUTES=N minutes
	@$(BIN)/python -m tests.perf.soak --minutes $(MINUTES) $(ARGS)

lint: setup ## check style, formatting, types and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: setup ## format the code
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

lock: setup ## update the lock files; ARGS=--upgrade upgrades all packages
	@$(COMPILE) $(ARGS) --output-file $(LOCK)
	@$(COMPILE) $(ARGS) --extra demo --group dev --constraint $(LOCK) --output-file $(DEV_LOCK)

clean: ## delete everything that the other targets created
	@rm -rf $(VENV) build *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find config tasks worker tests -type d -name __pycache__ -prune -exec rm -rf {} +
