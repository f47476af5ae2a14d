# Latchkey.  `make` lists the targets.

# The first Python on this machine that is 3.11 or newer.
ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p $(ENOUGH) 2>/dev/null && { echo $$p; break; }; done)
PORT ?= 8000
BIN := .venv/bin
FLASK := $(BIN)/flask --app wsgi
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-strip-extras \
	--custom-compile-command "make lock" --extra postgres --extra mysql pyproject.toml
EXTRAS := --extra metrics --extra traces --extra import

export PORT

.DEFAULT_GOAL := help
.PHONY: help install run dev test test-fast coverage faults bench check lint format types drift migrate tour lock sbom clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/server ## Install everything a server needs into .venv

run: install migrate ## Install, migrate, and serve on http://127.0.0.1:8000 (PORT=… changes it)
	@exec $(BIN)/gunicorn wsgi:app

dev: install migrate ## Install, migrate, and serve on the same port, reloading when the code changes
	@exec $(FLASK) run --debug --port $(PORT)

test: .venv/dev ## Install the test packages and run all tests
	$(BIN)/pytest -n auto

test-fast: .venv/dev ## Run only tests/features and tests/promises, on SQLite (half a minute)
	TEST_DATABASES=sqlite $(BIN)/pytest -n auto -m "not programs" tests/features tests/promises

coverage: .venv/dev ## Run all tests and list the lines that they do not run (takes twice as long)
	$(BIN)/pytest -n auto --cov

faults: .venv/dev ## Run the long fault tests and print their figures (a quarter of an hour)
	FAULTS=full $(BIN)/pytest tests/server/faults

check: lint types test drift ## Run every check of CI on this machine

lint: .venv/dev ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/dev ## Correct style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/dev ## Check types
	$(BIN)/mypy

drift: .venv/dev ## Check that migrations, openapi.json and docs/errors.md match the code
	APP_ENV=testing FLASK="$(FLASK)" sh .ci/drift

migrate: install ## Upgrade the database to the newest migration
	$(FLASK) db upgrade

bench: .venv/bench bench/load/node_modules ## Measure the server, a bare Flask and the usual tutorial code (ARGS="--quick")
	PYTHONPATH="$(CURDIR):tests" $(BIN)/python bench/bench.py $(ARGS)

tour: install ## Call every flow of the running server with curl
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh docs/tour.sh http://127.0.0.1:$(PORT)

lock: .venv/dev ## Compile requirements/*.txt from pyproject.toml
	$(UV_COMPILE) --upgrade --output-file requirements/prod.txt
	$(UV_COMPILE) --upgrade $(EXTRAS) --constraint requirements/prod.txt --output-file requirements/extras.txt
	$(UV_COMPILE) --upgrade $(EXTRAS) --group dev --constraint requirements/extras.txt --output-file requirements/dev.txt
	$(UV_COMPILE) --upgrade $(EXTRAS) --group bench --constraint requirements/dev.txt --output-file requirements/bench.txt

sbom: .venv/dev ## Write sbom.json, the bill of materials of the production packages (CycloneDX)
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(BIN)/python -m venv --without-pip "$$folder" \
		&& $(BIN)/python -m pip --python "$$folder/bin/python" install --quiet --disable-pip-version-check --require-hashes \
			-r requirements/prod.txt \
		&& $(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file sbom.json "$$folder"

clean: ## Remove .venv and the caches, but not the data in instance/
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamp files: a stamp that is newer than its requirements file means that these packages are installed.
.venv/server: requirements/prod.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.venv/dev: requirements/dev.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@ .venv/server

.venv/bench: requirements/bench.txt | .venv/dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

bench/load/node_modules: bench/load/package-lock.json
	npm ci --prefix bench/load --no-audit --no-fund --loglevel=error
	@touch $@

.venv/bin/python:
	@"$(PYTHON)" $(ENOUGH) 2>/dev/null \
		|| { echo "Latchkey needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@"$(PYTHON)" -m venv .venv \
		|| { rm -rf .venv; echo "This Python cannot make virtual environments; on Debian: apt install python3-venv"; exit 1; }
