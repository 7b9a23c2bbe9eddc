# Each target does its own set-up, and can be run again at any time.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes

.PHONY: help install run check test bench lock clean
.DEFAULT_GOAL := help

help: ## show this
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

install: $(VENV)/.installed ## create .venv with the pinned, hashed set

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@echo "installing into $(VENV) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.developing: requirements-dev.lock $(VENV)/.installed
	@$(PIP) -r requirements-dev.lock
	@touch $@

run: install ## start Envoy and the processor; a simulated provider where no provider key is set
	@exec $(BIN)/extproc up $(ARGS)

check: $(VENV)/.developing ## format, lint, types, the house
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/.developing ## every test, with coverage of the pure floors
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report= $(ARGS)
	$(BIN)/python -m coverage report --fail-under=100 --include='extproc/policy/*,extproc/bodies/*,extproc/providers/*,extproc/pricing/*,extproc/framing/*,extproc/redaction/*,extproc/envoyconfig/*,extproc/events.py,extproc/holds.py,extproc/model.py,extproc/errors.py'

bench: $(VENV)/.developing ## print the benchmark tables
	$(BIN)/python -m benchmarks $(ARGS)

lock: ## resolve the pinned sets again (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate \
	  --upgrade pyproject.toml --group pyproject.toml:build -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header --no-annotate \
	  --upgrade pyproject.toml --all-extras --group pyproject.toml:dev -c requirements.lock -o requirements-dev.lock

clean: ## remove the environment and what tests leave
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
