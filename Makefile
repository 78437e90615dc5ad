# make demo: install and solve the shipped instances.  make test: everything the tests need, and the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS ?= power
STAMP := $(VENV)/.installed-core
TEST_STAMP := $(VENV)/.installed-test
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: install demo test test-long lint types layers docs-check clean

install: $(STAMP)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml | $(VENV)/bin/python
	$(PIP) install --quiet --editable ".$(if $(EXTRAS),[$(EXTRAS)])"
	touch $@

$(TEST_STAMP): pyproject.toml | $(VENV)/bin/python
	$(PIP) install --quiet --editable ".[test,peers]"
	touch $@ $(STAMP)

demo: install
	$(BIN)/apportion doctor --compile
	$(BIN)/apportion solve instances/data --out results --time-limit 10 --jobs 2
	@echo "Open results/index.html in a browser."

test: $(TEST_STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadgroup

test-long: $(TEST_STAMP)
	$(BIN)/python -m pytest -m long --timeout 1800

lint: $(TEST_STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(TEST_STAMP)
	$(BIN)/mypy
	$(BIN)/pyright

layers: $(TEST_STAMP)
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist results .mypy_cache .ruff_cache .pytest_cache
