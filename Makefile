# salesgauge: what a newcomer, a contributor and CI type. `make help` lists it.

SHELL         := /bin/bash
.SHELLFLAGS   := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS     += --no-print-directory --warn-undefined-variables

VENV := .venv
BIN  := $(VENV)/bin

# Arguments handed on: make demo DEMO_ARGS='--for 30', make test PYTEST_ARGS='-k codec'
DEMO_ARGS   ?=
PYTEST_ARGS ?=
BENCH_ARGS  ?=
PYTHON      ?=

# Tests of one file stay together: they share brokers and programs. PYTEST_ARGS='-n 0 ...' runs all in one process.
IN_PARALLEL = -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

CODE = $(wildcard salesgauge schemas metrics streams grafana tests tools benchmarks)

##@ Use
.PHONY: demo
demo: $(VENV)/.runtime ## See it live: embedded broker, simulated CRM, worker, exporter, board (DEMO_ARGS='--for 60')
	@$(BIN)/salesgauge demo $(DEMO_ARGS)

.PHONY: setup
setup: $(VENV)/.dev ## Make .venv from the lock files, with the command .venv/bin/salesgauge and the developer's tools
	@echo "setup: ready: $(BIN)/salesgauge"

##@ Develop
.PHONY: test
test: $(VENV)/.dev ## Run the tests; brings Kafka, Prometheus, Alertmanager, Chromium first (PYTEST_ARGS='-k codec -x')
	@tools/fetch.sh
	@$(BIN)/python -m pytest $(IN_PARALLEL) --durations=25 --durations-min=5 $(PYTEST_ARGS)

.PHONY: quick
quick: $(VENV)/.dev ## Run only the tests that need no broker and no other program
	@$(BIN)/python -m pytest -m "not integration and not e2e and not kafka and not nightly" $(PYTEST_ARGS)

.PHONY: nightly
nightly: $(VENV)/.dev ## Run the long tests (hundreds of fault rounds)
	@tools/fetch.sh
	@$(BIN)/python -m pytest -m nightly $(PYTEST_ARGS)

.PHONY: check
check: lint types imports generated docs ## Check everything that needs no test run

.PHONY: lint
lint: $(VENV)/.dev ## Lint, and check the format of the code (ruff)
	@status=0; $(BIN)/ruff check $(CODE) || status=1; $(BIN)/ruff format --check $(CODE) || status=1; exit $$status

.PHONY: format
format: $(VENV)/.dev ## Format the code and repair what ruff can repair
	@$(BIN)/ruff check --fix --exit-zero --quiet $(CODE)
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check $(CODE)

.PHONY: types
types: $(VENV)/.dev ## Check types (mypy, strict)
	@$(BIN)/mypy

.PHONY: imports
imports: $(VENV)/.dev ## Check the import contracts: streams -> metrics -> schemas
	@$(BIN)/lint-imports --no-logo

.PHONY: generated
generated: $(VENV)/.dev ## Check that generated files (dashboards, rules, schemas, reference) are current
	@$(BIN)/salesgauge generate --check

.PHONY: docs
docs: $(VENV)/.dev ## Build the site of docs/ into build/site; fails on a dead link or a page outside the navigation
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

.PHONY: audit
audit: $(VENV)/.dev ## Check the lock files: complete, pinned, hashed, installed as locked, no conflicts
	@$(BIN)/python tools/audit.py

.PHONY: sbom
sbom: $(VENV)/.dev ## Write the bill of materials of what runs (CycloneDX, with licences) to build/salesgauge.cdx.json
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/sbom
	@$(BIN)/uv pip install --quiet --system-certs --python build/sbom/bin/python --require-hashes --no-deps -r requirements.lock
	@$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o build/salesgauge.cdx.json build/sbom/bin/python
	@echo "sbom: build/salesgauge.cdx.json"

.PHONY: bench
bench: $(VENV)/.dev ## Measure (benchmarks/; BENCH_ARGS)
	@tools/fetch.sh kafka
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

##@ Maintain
.PHONY: lock
lock: $(VENV)/.dev ## Renew both lock files from pyproject.toml (LOCK_ARGS='--upgrade-package NAME' or '--upgrade')
	@$(lock_command) --extra avro --extra boards --extra build --extra demo -o requirements.lock
	@$(lock_command) --all-extras -c requirements.lock -o requirements-dev.lock
	@echo "lock: requirements.lock, requirements-dev.lock"

.PHONY: clean
clean: ## Remove .venv, caches and build results
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- how ---------------------------------------------------------------------------------------------------------------

LOCK_ARGS    ?=
lock_command  = $(BIN)/uv pip compile pyproject.toml --quiet --universal --system-certs \
  --python-version 3.11 --generate-hashes --custom-compile-command "make lock" --no-emit-index-url --no-emit-find-links $(LOCK_ARGS)

# Two stamps: the demo needs the runtime's packages alone; developers get theirs on top.
$(VENV)/.runtime: requirements.lock pyproject.toml tools/setup.sh
	@PYTHON="$(PYTHON)" tools/setup.sh $(VENV) requirements.lock .runtime

$(VENV)/.dev: requirements-dev.lock requirements.lock pyproject.toml tools/setup.sh
	@PYTHON="$(PYTHON)" tools/setup.sh $(VENV) requirements-dev.lock .runtime .dev

# What was made may since have been moved, damaged or left by its Python: then it is made anew.
ifeq ($(filter-out help clean,$(MAKECMDGOALS)),)
else ifneq ($(shell PYTHON="$(PYTHON)" tools/setup.sh --check $(VENV)),)
$(VENV)/.runtime $(VENV)/.dev: FORCE
endif

FORCE:
