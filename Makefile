# The two commands of the README, and what continuous integration runs beside them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The tests start hundreds of children, and each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: check test test-slow test-full docs lint clean

check: $(VENV)/.installed          ## run the doctor on this machine
	$(BIN)/gpudoctor check

# Two more than processors: many tests wait for a child, and not for a processor.
test: $(VENV)/.installed           ## all fast tests
	$(BIN)/python -m pytest -n $$(($$(nproc) + 2)) -m "not slow"

test-slow: $(VENV)/.installed      ## real packages of the distribution, real Debian roots broken and repaired
	$(BIN)/python -m pytest -rs -m "slow and not full"

test-full: $(VENV)/.installed      ## the same with NVIDIA's whole source, and in a virtual machine: a quarter of an hour
	$(BIN)/python -m pytest -rs -m full

docs: $(VENV)/.installed           ## the documentation as a site, in build/site
	$(BIN)/python tools/documentation.py

lint: $(VENV)/.installed           ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=tools $(BIN)/mypy tools/fuzz.py tools/refresh_knowledge.py tools/refresh tools/record_machine.py tools/pack_digits.py tools/man_page.py tools/picture.py tools/documentation.py

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .hypothesis
