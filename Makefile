# Everything runs in .venv, which is brought up to date whenever pyproject.toml or constraints.txt change.
# Another interpreter: make test PYTHON3=python3.12. A venv from scratch: make clean first.

PYTHON3 ?= python3
WORKERS ?= 2
VENV := .venv
PYTHON := $(VENV)/bin/python

# One thread a process: the tests' arrays are small, and two pytest workers then share two cores without
# fighting over them.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n $(WORKERS)

.PHONY: help demo test test-slow lint format types clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.ready  ## the main job on the embedded configuration: train, then evaluate
	$(PYTHON) train_agent.py --config configs/demo.yaml && $(PYTHON) evaluate.py measure --run runs/demo --limit 256

test: $(VENV)/.ready  ## every test but the slow ones
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.ready  ## the slow tests
	$(PYTEST) -m slow

lint: $(VENV)/.ready  ## ruff, formatting and rules
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .

format: $(VENV)/.ready  ## let ruff mend what it can
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

types: $(VENV)/.ready  ## mypy --strict on facehall_env and agents
	$(PYTHON) -m mypy

clean:  ## remove the venv, build products and caches; runs, data and results stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find facehall_env agents tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an interrupted installation is taken up again by the next call.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON3) -c 'import sys; sys.exit("facehall needs Python 3.11 or newer, not %d.%d: make PYTHON3=/path/to/python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON3) -m venv $(VENV)
	$(PYTHON) -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
