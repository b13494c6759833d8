# Needs make and Python 3.11 or newer. All else lives in .venv, made once and brought up to date
# when pyproject.toml or constraints.txt change. Another Python: make PYTHON=python3.13

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Files, not tests, are shared out: those of a file may share an engine.
SPREAD := --numprocesses logical --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help run test test-long check bench bench-selection notebooks model

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.* ## \(.*\)/\1:\2/p' Makefile | while IFS=: read -r name text; do \
		printf 'make %-15s %s\n' "$$name" "$$text"; done

run: model ## Serve three arms of a small local model on 127.0.0.1:3001
	$(BIN)/orchestrator serve --config examples/smollm2.toml

test: model ## Run the tests
	$(BIN)/pytest $(SPREAD)

test-long: model ## Run the tests that take minutes, with Hypothesis searching anew
	$(BIN)/pytest -m long --hypothesis-profile=long $(SPREAD)

check: $(READY) ## Lint, types, import arrows, exports, packaging
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest tests/house -m 'not long'

bench: model ## Measure
	$(BIN)/python -m benchmarks

bench-selection: $(READY) ## Measure how well selectors choose; DATA=folder of outcome tables
	$(BIN)/python -m benchmarks.learning $(if $(DATA),--data $(DATA))

notebooks: $(READY) ## Run the notebooks and keep what they show
	$(BIN)/pytest --overwrite notebooks

# Quick when the model is already in the data folder.
model: $(READY) ## Fetch the small local model
	$(BIN)/orchestrator models get smollm2

# The constraints reach the build back end too: older pips read the first variable for it, newer
# ones the second.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("$(PYTHON) is Python %d.%d; orchestrator needs 3.11 or newer: make PYTHON=/path/to/python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
		$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
