# Modelyard's doors. `make` alone tells what there is.
# A machine needs Python 3.11, gcc, make and git; everything else goes into .venv from constraints.txt.

PYTHON ?= python3.11
# On a machine without a GPU, a CPU build keeps CUDA's packages away: make setup TORCH=torch==2.13.0+cpu
TORCH ?= torch==2.13.0
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export NO_MKDOCS_2_WARNING := 1

.DEFAULT_GOAL := help
.PHONY: help setup quickstart check test docs constraints pins clean

help: ## tell what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv and install everything at the versions of constraints.txt

# torch goes first, by itself: so TORCH may name another build, which what follows then finds in place.
$(READY): pyproject.toml constraints.txt
	@echo "[1/3] virtual environment in $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "[2/3] installing $(TORCH)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "$(TORCH)"
	@echo "[3/3] installing Modelyard and the rest (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[platform,operator,dev]'
	@touch $(READY)

quickstart: setup ## raw text to an answering model: train, evaluate, register, serve, ask
	@$(BIN)/python examples/quickstart.py

check: setup ## formatting, lint, types, import contracts, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict --quiet

test: setup ## the whole test suite (PYTEST_ARGS="-k yard" for a part, "-n 0" for one process)
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder $(PYTEST_ARGS)

docs: setup ## build the documentation into site/
	$(BIN)/mkdocs build --strict

constraints: ## renew constraints.txt: the newest versions that pyproject.toml allows, in a venv of its own
	$(PYTHON) -m venv --clear build/constraints
	build/constraints/bin/pip install --quiet --disable-pip-version-check "$(TORCH)"
	build/constraints/bin/pip install --quiet --disable-pip-version-check -e '.[platform,operator,dev]'
	@$(MAKE) --no-print-directory pins PINS_FROM=build/constraints/bin/pip > constraints.new
	mv constraints.new constraints.txt
	rm -rf build/constraints

# Names and versions only: no addresses, no editable lines, no local build tags (+cpu); pip itself is not pinned.
pins:
	@echo "# Every package of the .venv, at the versions that the tests ran with. Renew with: make constraints"
	@$(PINS_FROM) list --format=freeze --exclude-editable --disable-pip-version-check \
	  | grep -v -i -E '^(pip|setuptools|wheel)==' | sed 's/+.*//' | LC_ALL=C sort -f

clean: ## remove the virtual environment, caches and built pages (never yard/ or corpus/)
	rm -rf $(VENV) site dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find platform operators tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
