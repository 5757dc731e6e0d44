# Needs only make, Python 3 (3.9 or newer) and git: `setup` brings everything else into this folder.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.set-up
RUNTIME := .venv/.set-up-to-run
# Else each of the many interpreters that the tests start would compile everything again.
unexport PYTHONDONTWRITEBYTECODE
# Processes that take file after file in the order of tests/conftest.py: more than two cores, since tests wait, too.
TOGETHER := -n 4 --dist loadfile --no-loadscope-reorder
# `make check` has run them.
WITHOUT ?= tests/house

.DEFAULT_GOAL := help
.PHONY: help setup run test test-wide test-all test-engines check lint types imports fix audit bench docs translations map screenshots migration build clean

help:
	@echo "Contatto. The two to begin with: make run, make test."
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use it
setup: $(STAMP) ## install everything into .venv (the other targets install what they need)
	@echo "Ready. Next: make run, or make test."

run: $(RUNTIME) ## start the demo world; PORT=8000 and DATA=folder choose where
	@$(BIN)/contatto demo $(if $(PORT),--port $(PORT)) $(if $(DATA),--data-dir $(DATA))

##@ Change it
test: $(STAMP) ## run the tests of the default run, but those that check makes; T=path runs all of one file or folder
	@$(PYTHON) -m tools.browser
	@$(BIN)/pytest $(if $(T),$(T),$(TOGETHER) -m "not slow and not wide" $(addprefix --ignore=,$(WITHOUT)))

test-wide: $(STAMP) ## run the wide tests, which test leaves out: both databases, all attacks, long walks
	@$(PYTHON) -m tools.browser
	@$(BIN)/pytest $(TOGETHER) -m "wide and not slow"

test-all: $(STAMP) ## run all tests, the slow ones too (with a longer fuzz, all examples), and those of the engines
	@$(PYTHON) -m tools.browser
	@CONTATTO_ALL_EXAMPLES=1 $(BIN)/pytest $(TOGETHER)
	@$(PYTHON) -m tools.engines

test-engines: ## run attribution on Spark (a cluster too), Sail and ClickHouse; brings what they need, E=sail runs one
	@$(PYTHON) -m tools.engines $(E)

check: lint imports ## what must be green before a commit: lint, types, imports, architecture tests
	@$(PYTHON) -m tools.browser
	@$(BIN)/mypy & types=$$!; $(BIN)/pytest -q tests/house; house=$$?; wait $$types && exit $$house
	@$(BIN)/python -m tools.translations --check

lint: $(STAMP) ## find mistakes and bad format in the code, and mistakes in the scripts of pages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || (echo "Not formatted. Run: make fix"; exit 1)
	@$(BIN)/oxlint --deny-warnings src/contatto

types: $(STAMP) ## check the types, strictly
	@$(BIN)/mypy

imports: $(STAMP) ## check that imports keep to the layers and modules
	@$(BIN)/lint-imports --no-logo

fix: $(STAMP) ## repair what can be repaired by itself, and format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

##@ Look into it
audit: $(STAMP) ## look for known vulnerabilities in what uv.lock pins
	@$(PYTHON) -m tools.audit

bench: $(STAMP) ## run every benchmark for a minute at most; FULL=1 takes longer, B=name runs one
	@$(BIN)/python -m tools.benches $(if $(FULL),,--quick) $(B)

docs: $(STAMP) ## write docs/reference, and the SQL of the engines, from the code
	@$(BIN)/python -m tools.reference
	@$(BIN)/python -m tools.statements

translations: $(STAMP) ## bring the catalogues of translations up to date with the marked texts
	@$(BIN)/python -m tools.translations

map: $(STAMP) ## print the layers and their sizes from the real imports
	@$(BIN)/python -m tools.map

screenshots: $(STAMP) ## take the pictures of docs/images from a running demo
	@$(PYTHON) -m tools.browser
	@$(BIN)/python -m tools.screenshots

##@ Release it
migration: $(STAMP) ## write a new schema step; m="what changes"
	@$(BIN)/python -m tools.migration "$(m)"

build: $(STAMP) ## build the wheel, the source archive and the SBOM into dist/; every text must be translated
	@$(BIN)/python -m tools.translations --check
	@$(PYTHON) -m tools.bootstrap build
	@$(BIN)/python -m tools.sbom

clean: ## remove everything that make brought or made
	@rm -rf .venv .bootstrap .engines .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): pyproject.toml uv.lock
	@$(PYTHON) -m tools.bootstrap --runtime

$(STAMP): pyproject.toml uv.lock
	@$(PYTHON) -m tools.bootstrap
