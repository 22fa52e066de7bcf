# Everything runs in a virtual environment of the project's own; all that a machine needs is Python >= 3.11.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; break; fi; done)
VENV ?= .venv
BIN = $(VENV)/bin
PYTEST_ARGS ?=
# of the speed benchmarks, for instance PEERS="--against torch,keras --python keras=/path/to/python"
PEERS ?=
RESULTS ?= results

.PHONY: help demo test lint bench clean

help:
	@echo "make demo   backtest and forecast the embedded prices: tables, backtest.png, forecast.png"
	@echo "make test   the whole test suite"
	@echo "make lint   ruff and mypy"
	@echo "make bench  the speed benchmarks: results/*.json, results/speed.md and its picture; PEERS=... adds others"
	@echo "make clean  delete the virtual environment and what tools left behind"

demo: $(VENV)/.demo
	$(BIN)/tsrnn backtest --plot backtest.png
	$(BIN)/tsrnn forecast --plot forecast.png

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	for what in training predict startup scaling; do \
		$(BIN)/python benchmarks/bench_$$what.py $(PEERS) --json $(RESULTS)/$$what.json || exit 1; done
	$(BIN)/python benchmarks/report.py $(addprefix $(RESULTS)/,training.json predict.json startup.json scaling.json) --out $(RESULTS)/speed.md

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer was found; install one or name it: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "on Debian and Ubuntu: apt install python3-venv"; exit 1; }

# stamps: the packages are installed again when what they need has changed
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[plot]"
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .mypy_cache .hypothesis backtest.png forecast.png
