# `make demo` runs the main job, `make test` the tests. Each makes what it needs.

PYTHON ?= $(firstword $(foreach p,python3 python3.12 python3.11 python3.13 python,\
  $(shell $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
VENV := .venv
BIN := $(VENV)/bin

# Compiled programs are kept, so that a second run starts within seconds.
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0

.PHONY: help release-check docs demo test test-all test-fast faults lint fuzz mutants quality compare claims reproduce bench bench-stale bench-gpu clean

help:
	@echo "make demo   train a small transformer with and without warmup, and compare (about 2 minutes);"
	@echo "            ARGS=--automatic-warmup compares no warmup with automatic warmup"
	@echo "make test       run the tests, without the slow ones (5 minutes on two cores, 10 the first time)"
	@echo "make test-all   run every test (half an hour on two cores)"
	@echo "make faults     kill, stop and damage runs in every way that docs/faults.md lists (about 10 minutes)"
	@echo "make test-fast  run those that take no long programs, while you edit (under a minute)"
	@echo "                ARGS=tests/test_modes.py, ARGS='-k warmup' choose among them"
	@echo "make lint       ruff and mypy (half a minute)"
	@echo "make fuzz       random schedules against the oracle, random optimizers against their twins,"
	@echo "                damaged configurations, texts and files (ARGS='--seed 1 --minutes 10';"
	@echo "                goes on where the last run stopped)"
	@echo "make mutants    the share of small mistakes in the package that its tests notice (hours;"
	@echo "                may be stopped, goes on; ARGS='shapes values --sample 40',"
	@echo "                '--tests test_values' for those test files alone)"
	@echo "make quality    compare warmup methods over peak rates and tasks (hours; may be stopped, goes on)"
	@echo "make compare    compare schedules on digits and CartPole (6 CPU minutes; may be stopped, goes on)"
	@echo "make claims     test ten claims about warmup (an hour of one core; may be stopped, goes on)"
	@echo "make reproduce  published results, made again (minutes; may be stopped, goes on)"
	@echo "make bench      measure every cost table again (about ten minutes); make bench-stale"
	@echo "                lists those that are out of date"
	@echo "make bench-gpu  every GPU measurement, with the packages that this machine has (10 minutes)"
	@echo "make docs   build the site into build/site/html, every code cell executed (a few minutes)"
	@echo "make release-check  build both distributions, install and try each in an empty environment"
	@echo "                (10 minutes; PYTHON=python3.13 tries another one)"
	@echo "make clean  remove the environment, the caches and the runs"

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed. Install it, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "==> Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.examples: pyproject.toml | $(BIN)/python
	@echo "==> Installing optax_warmup with what the examples need (about a minute, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[examples]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "==> Installing optax_warmup with what the tests need (about a minute, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.examples

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	@echo "==> Installing optax_warmup with what the site needs (about a minute, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

docs: $(VENV)/.docs
	@echo "==> Building the site"
	@$(BIN)/python docs/site/build.py

demo: $(VENV)/.examples
	@echo "==> Training the demo transformer twice: without warmup and with it"
	@$(BIN)/python -m examples.transformer.demo $(ARGS)

test: $(VENV)/.dev
	@echo "==> Running the tests that are not slow"
	@$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-all: $(VENV)/.dev
	@echo "==> Running every test"
	@$(BIN)/python -m pytest $(ARGS)

faults: $(VENV)/.dev
	@echo "==> Killing, stopping and damaging runs"
	@$(BIN)/python -m pytest tests/faults $(ARGS)

test-fast: $(VENV)/.dev
	@$(BIN)/python -m pytest -m "not slow and not train" $(ARGS)

lint: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

fuzz: $(VENV)/.dev
	@$(BIN)/python tests/tools/fuzz.py $(ARGS)

mutants: $(VENV)/.dev
	@$(BIN)/python tests/tools/mutate.py $(ARGS)

quality: $(VENV)/.examples
	@$(BIN)/python -m benchmarks.warmup_quality run $(ARGS)

compare: $(VENV)/.examples
	@$(BIN)/python -m benchmarks.compare_schedules $(ARGS)

claims: $(VENV)/.examples
	@$(BIN)/python -m benchmarks.claims $(ARGS)

reproduce: $(VENV)/.examples
	@$(BIN)/python -m benchmarks.reproduce $(ARGS)

bench: $(VENV)/.examples
	@$(BIN)/python -m benchmarks.tables $(ARGS)

bench-stale: $(BIN)/python
	@$(BIN)/python -m benchmarks.tables --stale

bench-gpu:
	@PYTHONPATH=. $(PYTHON) -m benchmarks.gpu $(ARGS)

release-check:
	@$(PYTHON) tests/tools/check_release.py

clean:
	rm -rf $(VENV) .cache runs build dist *.egg-info
