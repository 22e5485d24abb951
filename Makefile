# Every target works from a fresh clone and is safe to repeat. `make` alone prints what there is.
#
# VENV    the virtual environment, made if it is not there
# PYTHON  the interpreter it is made with, 3.11 or newer

VENV ?= .venv
PYTHON ?= $(firstword $(foreach name,python3.11 python3,$(shell $(name) -c $(RECENT) 2>/dev/null && command -v $(name))))
RECENT := 'import sys; sys.exit(sys.version_info < (3, 11))'
PINS := setup.cfg pyproject.toml deploy/constraints.txt

# A run is a new process: without compiled bytecode it costs more than twice as much.
unexport PYTHONDONTWRITEBYTECODE
INSTALL = $(VENV)/bin/pip install --quiet --disable-pip-version-check --compile --constraint deploy/constraints.txt

# One more than there are cores, since many tests wait for processes of their own.
WORKERS = $(shell $(VENV)/bin/python -c 'import os; print(1 + os.cpu_count())')

# `dg` asks the dagster.yaml of its home whether it may report; this one says no.
DG_HOME = $(abspath $(VENV))/dagster

# Those that find passwords in examples; the others know what keys and tokens look like.
NO_SECRETS = BasicAuthDetector KeywordDetector Base64HighEntropyString HexHighEntropyString

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo dev test lint scan audit bench

help: ## print this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed ## run the sample campaign through all five stages, mail into a folder
	$(VENV)/bin/aicmo demo

dev: $(VENV)/.installed ## start the web UI, the daemon and the API; Ctrl-C stops all
	$(VENV)/bin/aicmo dev

test: $(VENV)/.installed-tools ## run every test
	$(VENV)/bin/pytest --numprocesses $(WORKERS) --dist worksteal

lint: $(VENV)/.installed-tools ## check style, format, types and that the definitions load
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	@mkdir -p $(DG_HOME) && cp dagster.yaml $(DG_HOME)/
	DAGSTER_HOME=$(DG_HOME) $(VENV)/bin/dg check defs

scan: $(VENV)/.installed-tools ## look for secrets in what git holds, and for pins that contradict each other
	git ls-files -z | xargs -0 $(VENV)/bin/detect-secrets-hook --no-verify $(NO_SECRETS:%=--disable-plugin %)
	$(VENV)/bin/pip check

audit: $(VENV)/bin/pip ## ask PyPI whether a pinned version is known to have a hole; needs the internet
	$(VENV)/bin/pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)/bin/pip-audit --requirement deploy/constraints.txt --no-deps --disable-pip

bench: $(VENV)/.installed-tools ## run the benchmarks, or with BENCH="NAME..." some, into docs/benchmarks.md
	$(VENV)/bin/python -m aicmo_dagster_tests.bench $(BENCH)

# The stamps are older than what they depend on as soon as a dependency or a pin changes.
$(VENV)/.installed: $(PINS) | $(VENV)/bin/pip
	@echo "Installing into $(VENV); this is done once and may take a minute or two."
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-tools: $(PINS) | $(VENV)/bin/pip
	@echo "Installing into $(VENV), tools for tests and checks too; this is done once."
	@$(INSTALL) --editable '.[test,dev]'
	@touch $(VENV)/.installed $@

$(VENV)/bin/pip:
	@$(or $(PYTHON),false) -c $(RECENT) || { \
		echo "Python 3.11 or newer is needed, found '$(PYTHON)'; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
