# Nothing but Python 3.10 or newer, git and make is needed; everything is installed into $(VENV).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SETTINGS := pyproject.toml setup.cfg
DEMO_IMAGES := examples/images
DEMO_OUT := demo-report
# processes of the test suite, one thread each
WORKERS ?= 2
# environments of other versions, and what is tried in them: make test-min TESTS="tests/hub -x"
ENVIRONMENTS := .environments
TESTS ?=
VERSIONS := $(ENVIRONMENTS)/tools/bin/python tools/supported_versions.py --workers $(WORKERS)

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-min test-latest test-pythons check docs format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## Install, and mark the forged pixels of the photographs in examples/
	$(BIN)/forgescope detect $(DEMO_IMAGES) --out $(DEMO_OUT) --format html --overwrite
	@echo "Overlay pictures:   $(DEMO_OUT)/overlays/"
	@echo "Report:             $(DEMO_OUT)/report.html"
	@echo "What a score means: docs/limits.md"

test: $(VENV)/.installed-test ## Install, and run the tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile

test-slow: $(VENV)/.installed-test ## Run the long tests too (training, large photographs)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile -m "slow or not slow"

test-min: $(ENVIRONMENTS)/tools/.installed ## Run the tests on the lowest supported versions of everything
	$(VERSIONS) min -- $(TESTS)

test-latest: $(ENVIRONMENTS)/tools/.installed ## Run the tests on the newest versions of everything
	$(VERSIONS) latest -- $(TESTS)

test-pythons: $(ENVIRONMENTS)/tools/.installed ## Run the tests on every installed Python, 3.10 to 3.14
	$(VERSIONS) pythons -- $(TESTS)

check: $(VENV)/.installed-dev build/types ## Lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-docs ## Build the pages of docs/, with every link checked, into build/site
	$(BIN)/python tools/paper_tables.py
	$(BIN)/python tools/cli_reference.py
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo "Pages: build/site/index.html"

format: $(VENV)/.installed-dev ## Repair what ruff can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove everything that make made
	rm -rf $(VENV) $(ENVIRONMENTS) build dist $(DEMO_OUT) *.egg-info

# One stamp for each set of dependencies, renewed when the settings change. The install is editable: sources count
# as they are.
$(VENV)/.installed: $(SETTINGS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.installed-%: $(SETTINGS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[$*]"
	@touch $@

# uv, for files that several environments have exist once on the disk; tomli stands in for tomllib on Python 3.10.
$(ENVIRONMENTS)/tools/.installed: Makefile
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet uv packaging tomli
	@touch $@

# mypy cannot follow an editable install whose folders have other names than its packages, so it reads links that
# stand as the packages are installed.
.PHONY: build/types
build/types:
	@rm -rf $@ && mkdir -p $@/forgescope
	@ln -s "$(CURDIR)"/src/forgescope/* $@/forgescope/
	@sed -n 's|^ *forgescope\.\([a-z_]*\) = \([a-z_]*\)$$|\1 \2|p' setup.cfg | \
		while read -r name folder; do ln -s "$(CURDIR)/$$folder" $@/forgescope/$$name; done
