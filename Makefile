# make reproduce   everything at the embedded scale: data, training, tables, plots -> reports/index.html
# make test        the test suite
# make check       what CI checks before a commit: format, lint, types, fast tests, workflow lint
# make env         only the environment, in .venv
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/requirements.installed
# Commands find the environment's programs first; nothing needs to be activated.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Two test processes with one thread each beat one process with two.
PYTEST ?= OMP_NUM_THREADS=1 python -m pytest -n auto --dist loadfile
SNAKEMAKE ?= snakemake --cores all

.PHONY: env reproduce test lint types format check clean

reproduce: $(READY)
	$(SNAKEMAKE)
	@echo "Report: reports/index.html"

test: $(READY)
	$(PYTEST)

env: $(READY)

# The stamp is written last: an installation that was broken off is done again.
$(READY): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: $(PYTHON) is too old; Python 3.11 or newer is needed (make PYTHON=python3.12 ...)"; exit 2; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

lint: $(READY)
	ruff check .
	ruff format --check .
	snakefmt --check workflow
	snakemake --lint

types: $(READY)
	mypy

format: $(READY)
	ruff check --fix .
	ruff format .
	snakefmt workflow

check: lint types
	$(PYTEST) -m "not slow"

# Everything that was generated, prepared data and trained weights included. The environment stays.
clean:
	find results reports -mindepth 1 -not -name .gitkeep -not -path 'reports/reference*' -delete
	rm -rf .snakemake .pytest_cache .mypy_cache .ruff_cache
	find src tests workflow -name __pycache__ -type d -prune -exec rm -rf {} +
