# The two commands of the README, and what continuous integration runs beside them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: check test test-slow lint clean

check: $(VENV)/.installed          ## run the doctor on this machine
	$(BIN)/gpudoctor check

test: $(VENV)/.installed           ## all fast tests
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/.installed      ## real packages of the distribution
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed           ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=tools $(BIN)/mypy tools/refresh_knowledge.py tools/refresh tools/record_machine.py

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .hypothesis
