# Every target installs what it needs first. Works with GNU make 3.81 (macOS) and newer.

PORT   ?= 8080
DATA   ?= .rxdesk
READY  ?= $(DATA)/ready.json
PYTHON ?=
VENV   ?= .venv
ARGS   ?=
QUICK  ?=
BENCH_VENV ?= .venv-bench
# Test processes; each has a PostgreSQL of its own.
WORKERS ?= 2
# Seconds after which no further test is begun.
LIMIT   ?= 1320

BIN     := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEV     := $(VENV)/.dev-installed
BENCH   := $(BENCH_VENV)/.bench-installed
# Wheels only: nothing is compiled here, and nothing is installed that its hash does not name.
INSTALL := -m pip --disable-pip-version-check --no-input install --quiet
PIP     := $(BIN)/python $(INSTALL)
LOCK    := $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header \
           --universal --python-version 3.11

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo install same-python dev test test-tools lint format docs bench bench-tools proof wheel lock lock-upgrade clean

help: ## this list
	@echo 'usage: make TARGET [NAME=value]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{printf "%-15s%s\n", $$1, $$2}'

demo: $(RUNTIME) ## a server with demo data: PORT=8080 (0 picks one) DATA=.rxdesk; Ctrl-C ends it
	@exec $(BIN)/rxdesk demo --data-dir '$(DATA)' --port '$(PORT)' --ready-file '$(READY)'

install: $(RUNTIME) ## make .venv with what the server needs; PYTHON=python3.12 picks one

dev: $(DEV) ## and with what tests and linters need

test: $(DEV) test-tools ## the tests; ARGS='-k orders' picks some
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --session-timeout $(LIMIT) $(ARGS)

test-tools: ## Chromium and redis-server, which some tests use (installed if root on Debian)
	@sh scripts/test_tools.sh

lint: $(DEV) ## ruff, mypy --strict, import contracts, rules on SQL
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m scripts.lint_sql

format: $(DEV) ## let ruff lay out the code and repair what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(DEV) ## write docs/configuration.md and docs/openapi.json from the code
	$(BIN)/python -m scripts.generate_docs

bench: $(RUNTIME) $(BENCH) ## RxDesk measured beside its peers, about half an hour; QUICK=1 takes less than 3
	@VENV='$(VENV)' $(BENCH_VENV)/bin/python -m bench $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)

bench-tools: ## wrk and redis-server (installed if root on Debian) and an environment for the peers' packages
	@sh scripts/bench_tools.sh '$(BENCH_VENV)' '$(PYTHON)'

proof: $(DEV) test-tools ## the long proofs, at full size; resumes where it stopped
	$(BIN)/python -m pytest -p tests.proof.recording -m proof -o timeout=7200 -o faulthandler_timeout=7260 $(ARGS)

wheel: $(DEV) ## dist/rxdesk-*.whl
	$(BIN)/python -m build --no-isolation --wheel --outdir dist .

lock: $(DEV) ## write requirements/*.txt anew after a change of pyproject.toml or requirements/*.in
	$(LOCK) pyproject.toml -o requirements/runtime.txt
	$(LOCK) requirements/build.in -c requirements/runtime.txt -o requirements/build.txt
	$(LOCK) requirements/dev.in -o requirements/dev.txt
	$(LOCK) requirements/bench.in -o requirements/bench.txt

lock-upgrade: $(DEV) ## the same, with the newest versions that are allowed
	$(LOCK) --upgrade pyproject.toml -o requirements/runtime.txt
	$(LOCK) --upgrade requirements/build.in -c requirements/runtime.txt -o requirements/build.txt
	$(LOCK) --upgrade requirements/dev.in -o requirements/dev.txt
	$(LOCK) --upgrade requirements/bench.in -o requirements/bench.txt

clean: ## remove .venv, caches and built files; demo data in $(DATA) stays
	rm -rf $(VENV) $(BENCH_VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests scripts bench -name __pycache__ -type d -prune -exec rm -rf {} +

same-python:
	@$(if $(PYTHON),sh scripts/same_python.sh '$(VENV)' '$(PYTHON)')

$(BIN)/python: | same-python
	@sh scripts/make_venv.sh '$(VENV)' '$(PYTHON)'

$(RUNTIME): $(BIN)/python pyproject.toml requirements/runtime.txt requirements/build.txt | same-python
	@echo 'Installing what the server needs into $(VENV) …'
	@$(PIP) --only-binary :all: --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	@$(PIP) --no-deps --no-index --no-build-isolation --editable .
	@touch $@

$(DEV): $(RUNTIME) requirements/dev.txt
	@echo 'Installing what tests and linters need into $(VENV) …'
	@$(PIP) --only-binary :all: --require-hashes -r requirements/dev.txt
	@touch $@

$(BENCH): bench-tools pyproject.toml requirements/runtime.txt requirements/build.txt requirements/bench.txt
	@if [ ! -e $@ ] || [ -n "$$(find pyproject.toml requirements -newer $@)" ]; then \
		echo 'Installing what the peers need into $(BENCH_VENV) …' && \
		$(BENCH_VENV)/bin/python $(INSTALL) --only-binary :all: --require-hashes \
			-r requirements/runtime.txt -r requirements/build.txt -r requirements/bench.txt && \
		$(BENCH_VENV)/bin/python $(INSTALL) --no-deps --no-index --no-build-isolation --editable . && \
		touch $@; fi
