# Every recipe is one command that ends in `exec`, so that a signal to make reaches the program itself.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo smoke test e2e faults bench nightly lint messages lock clean

PYTHON ?= python3
PYTEST_ARGS ?= -n 4 --dist worksteal
export PYTHON

BIN := .venv/bin
RUN_READY := .venv/.ready-run
DEV_READY := .venv/.ready-dev
E2E_READY := .venv/.ready-e2e

help: ## Show this list
	@exec sed -n 's|^\([a-z0-9]*\):.*## \(.*\)|make \1	\2|p' Makefile

demo: $(RUN_READY) ## Run all of Hygate with simulators, without accounts, hardware or money (PORT=8000, FRESH=1)
	@exec $(BIN)/python manage.py demo

smoke: $(RUN_READY) ## Buy one session on the running demo and compare money, relay and audit
	@exec $(BIN)/python manage.py smoke

test: $(DEV_READY) ## Run the tests (PYTEST_ARGS="-n 4")
	@exec $(BIN)/python -m pytest $(PYTEST_ARGS)

e2e: $(E2E_READY) ## Play guests and the operator in a real browser against real processes (ONLY=buy, ALL=1 takes every screenshot)
	@exec $(BIN)/python -m tests.e2e

faults: $(DEV_READY) ## Break everything on purpose and check money, power and claims (ROW=P1, SEED=1, ALL=1, MUTANTS=1)
	@exec $(BIN)/python -m tests.faults

bench: $(E2E_READY) ## Measure speed against contenders (ONLY=a, QUICK=1); writes bench/results.json
	@exec $(BIN)/python -m tests.bench

nightly: $(DEV_READY) ## Everything that takes hours: all fault rows, seeded bugs, ten thousand histories
	@exec sh tools/nightly.sh

lint: $(DEV_READY) ## Check style, types, imports between rooms, and templates
	@exec sh tools/lint.sh

messages: $(DEV_READY) ## Collect the guests' words into locale/ and compile them; says what is still to be translated
	@exec $(BIN)/python tools/messages.py

lock: ## Maintainers: pin what pyproject.toml asks for, with hashes
	@exec sh tools/lock.sh

clean: ## Remove the environment, caches and the demo's data
	@exec rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis var/demo

$(RUN_READY): requirements/run.txt tools/setup.sh
	@exec sh tools/setup.sh run

$(DEV_READY): requirements/dev.txt tools/setup.sh
	@exec sh tools/setup.sh dev

$(E2E_READY): requirements/e2e.txt tools/setup.sh
	@exec sh tools/setup.sh e2e
