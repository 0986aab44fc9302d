# `make` lists the targets. Needs Python 3.11 or later; the tests with real servers also Java, Maven and Go.
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
ARGS ?=
PYTHONS ?= 3.12 3.13 3.14
# Compiled modules are always kept: the tests start hundreds of processes, and each would otherwise spend two seconds on
# compiling.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo docs fetch test coverage pythons engines chaos lint format types layers check lock wheel services bench audit clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## make .venv with the locked dependencies and the command adapty-sink

$(INSTALLED): requirements.lock pyproject.toml .ci/tools.txt $(wildcard native/src/*.rs native/*.toml native/crates.lock)
	@test -n "$(PYTHON)" || { echo "needs Python 3.11 or later (make PYTHON=...)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r .ci/tools.txt
	$(BIN)/uv pip sync -q --python $(BIN)/python --require-hashes requirements.lock .ci/tools.txt
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	$(BIN)/python .ci/native.py install
	touch $@

demo: setup ## run everything in one process, without servers or settings
	$(BIN)/adapty-sink demo $(ARGS)

fetch: setup ## download the servers of the tests into the user's cache folder; says which are not available
	-$(BIN)/python -m tests.services fetch

test: setup fetch ## run all tests; ARGS='-k name' for some. Tests without their server are skipped
	$(BIN)/pytest -n auto --dist worksteal $(ARGS)

coverage: setup ## measure the coverage of the unit tests with the exact engine; fails below fail_under in pyproject.toml
	rm -f .coverage .coverage.*
	ADAPTY_SINK_ENGINE=exact $(BIN)/coverage run -m pytest -q -n auto --dist worksteal tests/unit $(ARGS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

pythons: setup ## run the unit and contract tests on other Python versions of this machine; PYTHONS='3.12 3.13' for some
	.ci/pythons $(PYTHONS)

engines: setup ## run the statements of schema in ClickHouse and Spark as well; downloads a gigabyte to .engines, needs Java 17
	$(BIN)/uv pip install -q --python $(BIN)/python --target .engines --no-deps --require-hashes -r .ci/engines.txt
	PYTHONPATH=.engines $(BIN)/pytest -n 0 tests/unit/commands/schema $(ARGS)

chaos: setup fetch ## run a seeded campaign of kills and faults on real servers; ARGS='--seed 1 --kills 20' for another
	$(BIN)/python -m tests.chaos $(ARGS)

lint: setup ## check with ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: setup ## apply what ruff can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: setup ## check types with mypy --strict
	$(BIN)/mypy

layers: setup ## check the import layers
	$(BIN)/lint-imports

docs: setup ## generate the pages made from the code: docs/modules.md, docs/commands.md, docs/metrics.md
	$(BIN)/python .ci/module_map.py

check: lint types layers test ## run what CI runs

lock: COMPILE := $(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header
lock: setup ## update the locks from pyproject.toml; UPGRADE=--upgrade for newer versions
	$(COMPILE) $(UPGRADE) --group dev --extra msk-iam pyproject.toml -o requirements.lock
	$(COMPILE) -c requirements.lock --extra msk-iam pyproject.toml -o deploy/requirements.lock
	$(COMPILE) -c requirements.lock --group engines -o .ci/engines.txt
	printf 'uv\nhatchling\neditables\nmaturin\n' | $(COMPILE) $(UPGRADE) -c requirements.lock - -o .ci/tools.txt

wheel: setup ## build dist/adapty_sink_native-*.whl for other machines: the extra adapty-sink[native]; needs cargo
	$(BIN)/python .ci/native.py wheel

services: setup ## start Kafka, MinIO and a schema registry on loopback until Ctrl-C; prints their addresses
	$(BIN)/python -m tests.services up

bench: setup ## run the benchmarks
	$(BIN)/python -m benchmarks $(ARGS)

audit: setup ## check the locked dependencies for known vulnerabilities; fails on a match
	$(BIN)/python .ci/audit.py

clean: ## remove generated files; the cache of servers stays
	rm -rf .venv .engines .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage dist build
	find consumer tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
