# netsim: `make help` lists what there is. Everything lives in .venv; nothing needs root.

.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV ?= .venv
BIN := $(VENV)/bin
NETSIM := $(BIN)/python -m netsim
# As pip does for an installed package: where PYTHONDONTWRITEBYTECODE is set, every start would compile anew.
COMPILE := $(BIN)/python -m compileall -q netsim
TOPOLOGY := topologies/cross-namespace.yaml
JOBS ?= 2

.PHONY: help demo test check lint types imports unit conformance kernel format bench docs clean

help: ## what each target does
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

# The venv is made from the first Python that is new enough; `make PYTHON=/path/to/python3.12` chooses one.
$(BIN)/python:
	@python=; bare=; \
	for candidate in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
		"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		if "$$candidate" -c 'import venv, ensurepip' 2>/dev/null; then python=$$candidate; break; fi; \
		bare=$${bare:-$$candidate}; \
	done; \
	if [ -n "$$python" ]; then \
		"$$python" -m venv --clear $(VENV); \
	elif [ -n "$$bare" ]; then \
		echo "$$bare has no venv module, which makes the place that netsim is installed into." >&2; \
		echo '  Debian and Ubuntu:  apt-get install python3-venv' >&2; \
		exit 1; \
	else \
		echo 'netsim needs Python 3.11 or newer and found none in PATH.' >&2; \
		echo '  Debian 12, Ubuntu 24.04 and newer:  apt-get install python3 python3-venv' >&2; \
		echo '  elsewhere: install one, then        make demo PYTHON=/path/to/python3.11' >&2; \
		exit 1; \
	fi

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@$(COMPILE)
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@$(COMPILE)
	@touch $@ $(VENV)/installed

demo: $(VENV)/installed ## set up, walk from one namespace to another, and leave demo/walk.pcapng
	@mkdir -p demo
	$(NETSIM) trace -f $(TOPOLOGY) dev/jump ent.prod:8080
	@echo
	$(NETSIM) run $(TOPOLOGY) --capture demo/walk.pcapng
	@echo
	@echo 'Every packet of that run is in demo/walk.pcapng. Look at it:'
	@echo '  $(BIN)/netsim capture show demo/walk.pcapng --why'
	@echo '  $(BIN)/netsim capture show demo/walk.pcapng --packet 1'
	@echo '  WIRESHARK_CONFIG_DIR=demo/walk.wireshark wireshark -C netsim -r demo/walk.pcapng'
	@echo 'Go into a Pod (without the path after: . $(BIN)/activate):'
	@echo '  $(BIN)/netsim exec -f $(TOPOLOGY) dev/jump -- nslookup ent.prod'
	@echo 'What a node holds:'
	@echo '  $(BIN)/netsim show proxy -f $(TOPOLOGY) --node node1'

test: $(VENV)/installed-dev ## set up, then ruff, mypy, import contracts and all tests
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory unit

check: $(VENV)/installed-dev ## the static half of `make test`
	@$(MAKE) --no-print-directory --jobs=$(JOBS) --keep-going --output-sync=target types imports lint

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .

types: $(VENV)/installed-dev
	$(BIN)/mypy

imports: $(VENV)/installed-dev
	$(BIN)/lint-imports

unit: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(PYTEST_ARGS)

conformance: $(VENV)/installed-dev ## run the conformance cases; NETSIM_CASES=DIR takes them from DIR
	$(BIN)/python -m tests.conformance

kernel: $(VENV)/installed-dev ## as root: the kernel judges kube-proxy's rules, and speaks with a host
	NETSIM_REQUIRE=all $(BIN)/python -m pytest -q -rP tests/kernel

format: $(VENV)/installed-dev ## rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed-dev ## measure start-up and throughput
	$(BIN)/python -m pytest -o python_files='bench_*.py' -s tests/bench

docs: $(VENV)/installed-dev ## write the generated docs again: the Topology reference, its JSON Schema, the images
	$(BIN)/python -m tests.tools.generate_topology_reference
	$(BIN)/python -m tests.tools.generate_image_reference

clean: ## remove everything that make made
	rm -rf $(VENV) demo build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
