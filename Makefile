# One front door. `make` lists what there is; each target sets up what it needs.
PY := .venv/bin/python
PYTHON ?= python3
# A test process for each core, up to four.
# Files go to whoever is free in the order of their names, not those of most tests first.
SPREAD := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# What needs neither torch nor Flower; tests/without_torch.py holds it to that.
UNIT := tests/charter tests/data tests/enrolment tests/policy tests/storage tests/texts tests/tools
# Set by `make coverage` and .ci/run: run tests under coverage, which costs up to two thirds more CPU.
COVER_UNIT :=
COVER_FAST :=
COVERED := -m coverage run
# What the unit tests are about; the other rooms are tested around a model or a federation.
UNIT_ROOMS := fedethics/charter/*,fedethics/data/*,fedethics/enrolment/*,fedethics/policy/*,fedethics/storage/*,fedethics/texts.py
# Never phone home, never install anything while running.
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION := 1
export HF_HUB_OFFLINE := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test-unit test test-slow slow-federations slow-processes test-all test-exhaustive coverage check format docs bundle gpu-check lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## .venv with pinned packages, the embedded models, the demo's data
	@$(PYTHON) tools/setup.py

demo: setup ## four real hospitals, end to end, under 4 minutes
	@$(PY) -m simulations configs/heart.toml

test-unit: setup ## what needs neither torch nor Flower, about a minute
	@$(PY) $(COVER_UNIT) -m pytest -q -p tests.without_torch $(UNIT)
	@$(if $(COVER_UNIT),$(PY) -m coverage combine -q --append)
	@$(if $(COVER_UNIT),echo "lines of $(UNIT_ROOMS) that the unit tests run: $$($(PY) -m coverage report --format=total --include='$(UNIT_ROOMS)') %")

test: test-unit ## the fast tests, those of test-unit first
	@OMP_NUM_THREADS=1 $(PY) $(COVER_FAST) -m pytest -q $(SPREAD) $(UNIT:%=--ignore %)

test-slow: setup ## the slow tests: whole federations, and beside them real processes
	@$(MAKE) --no-print-directory -j2 -Otarget slow-federations slow-processes

# Real processes wait for clocks and for each other most of the time, so they run beside what
# computes: one federation of them at a time.
slow-processes:
	@$(PY) -m pytest -q -m slow tests/deployment

slow-federations:
	@OMP_NUM_THREADS=1 $(PY) -m pytest -q -m slow $(SPREAD) --ignore tests/deployment

test-all: test test-slow ## the fast and the slow tests, as CI runs them

test-exhaustive: setup ## a crash at every single point, and new examples for every property, for an hour or so
	@$(PY) -m pytest -q -m exhaustive
	@$(PY) -m pytest -q --hypothesis-profile=search $(SPREAD) $$(grep -rl "^from hypothesis" tests --include=test_*.py)

coverage: setup ## lines that the fast tests run; each file's in build/coverage/html
	@$(PY) -m coverage erase
	@$(MAKE) --no-print-directory test COVER_UNIT="$(COVERED)" COVER_FAST="$(COVERED)"
	@$(PY) -m coverage combine -q --append
	@$(PY) -m coverage html -q
	@echo "lines that the fast tests run: $$($(PY) -m coverage report --format=total) %"

check: setup ## style, types, architecture
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

format: setup ## let ruff format the code
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

docs: setup ## the documentation site, build/site/index.html; a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(PY) tools/docs.py

bundle: setup ## the Flower bundle that reaches nodes
	@.venv/bin/flwr build

gpu-check: setup ## the training engine on a GPU; skips by name where there is none
	@$(PY) tools/gpu_check.py
	@$(PY) -m pytest -q -m gpu -rs tests/training

lock: setup ## write the lock files anew from constraints.txt
	@$(PY) tools/lock.py

clean: ## delete what was built, but no run and no data
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
