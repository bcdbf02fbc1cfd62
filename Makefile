# milr: `make demo` and `make test` set everything up themselves, in .venv, and are quick the second time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
# One thread a process: the tests' tensors are small, and two processes with two threads each get in each other's way.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal
UV := UV_PYTHON_DOWNLOADS=never $(BIN)/python -m uv

.PHONY: help setup test quick lint demo docs results rooms lock clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## */  make \1\t/' | expand -t 16

setup: $(VENV)/.installed  ## make .venv with milr and everything it needs

test: lint  ## check the code and run all tests: 6 to 16 minutes on 2 cores; JOBS=<processes>
	$(PYTEST)

quick: setup  ## run the tests that take no more than a moment each: 75 seconds on 2 cores
	$(PYTEST) -m "not slow"

lint: setup  ## check style and types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

demo: setup  ## train, fit and draw on the embedded data set: no download, a coffee break
	PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/demo.sh

docs: setup  ## build the site into site/; a dead link or a missing docstring fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

results: setup  ## the final tables, on drawn birds and, with CROPS= WEIGHTS=, on photographs; hours
	PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/results.sh

rooms: setup  ## draw docs/rooms.svg, the picture in CONTRIBUTING.md, from today's imports
	$(BIN)/python scripts/rooms.py

lock: $(VENV)/.uv  ## resolve requirements.lock anew, for every Python that pyproject.toml admits
	$(UV) pip compile pyproject.toml --extra dev --extra docs --universal --python-version 3.10 \
		--no-header --no-annotate --upgrade --quiet --output-file $(VENV)/lock
	{ head -1 requirements.lock; cat $(VENV)/lock; } > $(VENV)/lock.new && mv $(VENV)/lock.new requirements.lock

clean:  ## remove .venv and the caches; outputs and data stay
	rm -rf $(VENV) build dist site src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests conf scripts -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "milr needs Python 3.10 to 3.13: name one with make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"
	@touch $@

# uv takes torch and torchvision from the same place; a torch from another one makes torchvision fail at import.
$(VENV)/.locked: requirements.lock | $(VENV)/.uv
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.locked
	$(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@
