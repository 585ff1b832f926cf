# `make demo` and `make test` need nothing but Python 3.10 or 3.11; everything is installed into .venv.
# Without make, the demo is two lines:
#   python3.11 -m venv .venv && .venv/bin/pip install --prefer-binary -c constraints.txt -e .
#   .venv/bin/twist train reach --run-dir runs/demo
#
# A machine without an NVIDIA GPU can save gigabytes of CUDA libraries:
#   make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The first interpreter on the PATH that runs and is one that PyBullet has wheels for.
PYTHON ?= $(shell for p in python3.11 python3.10 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))' 2>/dev/null && echo "$$p" && break; done)
RUN_DIR ?= runs/demo
SEED ?= 0
PIP_ARGS ?=
PYTEST_ARGS ?=

BIN := .venv/bin
PIP_INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --prefer-binary $(PIP_ARGS) -c constraints.txt
SOURCES := pyproject.toml constraints.txt
# A file is one process's, as what it sets up serves all its tests; tests/conftest.py has the longest files begin first.
IN_PARALLEL := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
PACKAGES := actors learner replay sim deploy
# The part of `make test` that is about faults and Redis servers.
DISTRIBUTED := tests/test_faults.py tests/test_secrets.py tests/deploy/training/test_redis_url.py \
  tests/replay/test_replay_access.py tests/replay/test_replay_cluster.py tests/replay/test_replay_tls.py

.PHONY: help demo test test-long test-cluster test-environments test-franka test-lerobot lint format types imports schema ci lock clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

demo: .venv/installed ## install, train teacher and student on reach, and report
	$(BIN)/twist train reach --run-dir $(RUN_DIR) --seed $(SEED)

test: .venv/installed-dev ## what can be tested without a GPU or a cloud, but for test-long and the targets below
	$(BIN)/pytest $(IN_PARALLEL) $(PYTEST_ARGS)

test-long: .venv/installed-dev ## whole runs that `make test` leaves out: the same faults in another mode, at another moment
	$(BIN)/pytest $(IN_PARALLEL) -m long $(PYTEST_ARGS)

test-cluster: .venv/installed-dev ## several hosts, faults, autoscaler, jobs, Redis Cluster, TLS; as root for all of it; minutes
	$(BIN)/pytest -m cluster $(PYTEST_ARGS)
	$(BIN)/pytest $(IN_PARALLEL) -m "not cluster and not environments" $(DISTRIBUTED) $(PYTEST_ARGS)

test-environments: .venv/installed-dev ## a bundle in fresh environments of every Python that is there; minutes
	$(BIN)/pytest -m environments $(PYTEST_ARGS)

test-franka: .venv/installed-dev ## the driver of a Franka arm over its protocol, against a simulated FR3
	$(PIP_INSTALL) -e ".[dev,franka]"
	$(BIN)/pytest tests/deploy/robot/test_franky_arm.py $(PYTEST_ARGS)

test-lerobot: .venv/installed-dev ## LeRobot's own reader on datasets that are written here; needs python3.12; 5 GB, minutes
	$(PIP_INSTALL) -e ".[dev,dataset]"
	test -x .lerobot-venv/bin/python || python3.12 -m venv .lerobot-venv
	.lerobot-venv/bin/pip install --quiet --disable-pip-version-check $(PIP_ARGS) "lerobot[dataset]==0.6.1"
	LEROBOT_PYTHON=$(CURDIR)/.lerobot-venv/bin/python $(BIN)/pytest tests/deploy/robot/test_lerobot.py $(PYTEST_ARGS)

lint: .venv/installed-dev ## style, and whether the formatter would change anything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/installed-dev ## let ruff mend and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: .venv/installed-dev ## mypy, strict
	$(BIN)/mypy

imports: .venv/installed-dev ## who may import whom
	$(BIN)/lint-imports

schema: .venv/installed ## write the JSON schemas in docs/schema anew
	$(BIN)/twist schema docs/schema

ci: ## what continuous integration runs
	.ci/run

lock: ## resolve the newest versions that pyproject.toml allows, and pin them in constraints.txt
	rm -rf .lock-venv
	$(PYTHON) -m venv .lock-venv
	.lock-venv/bin/pip install --quiet --disable-pip-version-check --prefer-binary $(PIP_ARGS) -e ".[dev,isaacgym]"
	.lock-venv/bin/python .ci/lock constraints.txt
	rm -rf .lock-venv

clean: ## remove the environment, caches and build leftovers, but no run
	rm -rf .venv .lock-venv .lerobot-venv build dist *.egg-info .coverage htmlcov .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

# One pip call each: the second finds the first's packages in place. The stamp is made last, so a broken install is done again.
.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "twist needs Python 3.10 or 3.11 (PyBullet has no wheels for later ones); found neither on the PATH" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: $(SOURCES) | .venv/bin/python
	$(PIP_INSTALL) -e .
	@touch $@

.venv/installed-dev: $(SOURCES) | .venv/bin/python
	$(PIP_INSTALL) -e ".[dev]"
	@touch .venv/installed $@
