# bulkhaul: `make demo` shows it, `make test` tests it, `make env` makes .venv for work.
.DEFAULT_GOAL := help
.PHONY: help env demo test check bench bench-full simulate performance campaign figure reliability docs lint audit fast packages
SHELL := /bin/bash

BIN := .venv/bin
READY := .venv/.ready
# The first Python on PATH that is new enough; PYTHON=... overrides.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python3.14; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)

help:
	@echo 'make env     make .venv with bulkhaul and all that development needs'
	@echo 'make demo    move six small plates to an embedded S3 server, with a killed worker, and compare'
	@echo 'make test    run all tests with coverage (as root on Debian: installs SLURM and gcc if they are missing)'
	@echo 'make check   lint, types and the fast tests'
	@echo 'make audit   known vulnerabilities of what is installed, or one line where nobody can be asked'
	@echo 'make bench   bulkhaul beside s5cmd, rclone, aws and the naive way (needs a C compiler; BENCH=... chooses)'
	@echo 'make bench-full   the same, and the curves to 10^6 files'
	@echo 'make simulate  1,000 workers on 100,000 jobs in virtual time, about two minutes (SIMULATE=... chooses)'
	@echo 'make performance  docs/performance.md and its plots of the results of make bench'
	@echo 'make campaign  random fault campaigns with a judge of their own (N=1000 that many, SEED=1 again)'
	@echo 'make figure  measure one claim of docs/reliability.md (F="claims --amount 1000" chooses)'
	@echo 'make reliability  docs/reliability.md of what make campaign and make figure found'
	@echo 'make docs    the reference of the package as web pages, build/docs/index.html'

env: $(READY)

$(READY): pyproject.toml
	@test -n '$(PYTHON)' || { echo 'make: no Python >= 3.11 on PATH; install one (Debian: apt-get install python3 python3-venv), or PYTHON=/path make env' >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo 'make: $(PYTHON) has no venv; install it (Debian: apt-get install python3-venv)' >&2; exit 2; }
	@echo 'making .venv and installing bulkhaul[dev] into it ...'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input -e '.[dev]'
	@touch $@

demo: $(READY)
	@$(BIN)/python scripts/demo.py

test: $(READY) packages
	@rm -f .coverage .coverage.*
	@$(BIN)/coverage run -m pytest -n 3 --dist loadgroup $(PYTEST)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

check: lint fast

bench: $(READY)
	@$(BIN)/python benchmarks/bench.py $(BENCH)

bench-full: $(READY)
	@$(BIN)/python benchmarks/bench.py --full $(BENCH)

simulate: $(READY)
	@$(BIN)/python benchmarks/simulate.py $(SIMULATE)

performance: $(READY)
	@$(BIN)/python benchmarks/page.py

N ?= 20
campaign: $(READY)
	@PYTHONPATH=tests $(BIN)/python -m faults.campaigns $(N) $(if $(SEED),--seed $(SEED))

figure: $(READY)
	@PYTHONPATH=tests $(BIN)/python -m faults.measure $(F)

reliability: $(READY)
	@PYTHONPATH=tests $(BIN)/python -m faults.page

# The package looks its steps up when they are asked for: the star asks for all, so that pdoc sees them. pdoc looks in the
# wrong module for the types of a NamedTuple's constructor; any other warning is an error.
MODULES = $(filter-out bulkhaul.cli.% %.__init__,$(subst /,.,$(patsubst src/%.py,%,$(shell find src/bulkhaul -name '*.py' | sort))))
REFERENCE ?= build/docs
docs: $(READY)
	@$(BIN)/python -W error -W 'ignore:Error parsing type annotation' \
		-c 'from bulkhaul import *; from pdoc.__main__ import cli; cli()' \
		--docformat google --no-include-undocumented --output-directory $(REFERENCE) bulkhaul $(MODULES)
	@echo '$(REFERENCE)/index.html'

lint: $(READY)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

audit: $(READY)
	@$(BIN)/python .ci/audit.py

fast: $(READY)
	@$(BIN)/python -m pytest -q -n 3 -m 'not slow and not s3 and not slurm'

packages:
	@tests/install_packages.sh
