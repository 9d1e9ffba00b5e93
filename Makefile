PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

SEED := 1
SHARD := 0/1

.PHONY: help install demo test test-all test-gpu torture-quick torture torture-report audit coverage lab lab-full bench docs lint typecheck schemas format clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(INSTALLED)  ## makes .venv with the tested versions

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("gan-cli needs Python 3.11 to 3.13, this is " + sys.version.split()[0] + ": try make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install  ## trains the default on the bundled digits for a minute
	$(BIN)/gan-train name=demo dataset.download=false budget=60s

test: install  ## every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test-all: install  ## also the slow ones: the failures and cures of the lab, ten seeds each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m ''

test-gpu: install  ## the tests that need an NVIDIA GPU, which the others skip without one
	$(BIN)/python -m pytest -m gpu

torture-quick: install  ## kills, failing writes, power cuts, signals, hostile files: 5 minutes of two cores
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/torture.py --seed $(SEED) --minutes 30 --complete

torture: install  ## the full set by SEED, a SHARD of it as 0/4, 75 minutes at a time; goes on where it stopped
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/torture.py --full --seed $(SEED) --shard $(SHARD)

torture-report: install  ## both tables of the shards of make torture that have run
	$(BIN)/python benchmarks/torture.py --full --seed $(SEED) --report

audit:  ## known advisories of the versions in constraints.txt, by pip-audit; needs a network
	test -x .audit/bin/pip-audit || { $(PYTHON) -m venv .audit && .audit/bin/pip install --quiet pip-audit; }
	.audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip

coverage: install  ## make test, and the share of lines of gan_cli that it runs, by file
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal --cov --cov-report term

lab: install  ## methods against mode collapse, over seeds, within an hour: outputs/lab/table.md
	$(BIN)/python benchmarks/lab.py

lab-full: install  ## the same with ten seeds each
	$(BIN)/python benchmarks/lab.py --full

bench: install  ## speed and quality, each with a table and outputs/bench/*.json: two hours on an idle machine
	for each in startup stalls sampling scaling 'throughput --profile' 'quality $(QUALITY)'; do \
		set -- $$each && script=$$1 && shift && $(BIN)/python benchmarks/$$script.py "$$@" || exit 1; done

docs: install  ## the site, in docs/_build/index.html; any warning is an error
	$(BIN)/python -m sphinx -W --keep-going --nitpicky --fresh-env --write-all --quiet -c docs . docs/_build

lint: install typecheck  ## style, imports, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

typecheck: install  ## types alone
	$(BIN)/mypy

schemas: install  ## writes the JSON Schemas of configs/ again, which editors read
	$(BIN)/python -c 'from gan_cli.cli.json_schema import write_shipped; write_shipped()'

format: install  ## rewrites what lint would complain about
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## removes what was built, keeps outputs/
	rm -rf .venv .audit dist build docs/_build docs/reference .pytest_cache .mypy_cache .ruff_cache .coverage
