# Every command that README names. Needs Python 3.11 and make; the rest is installed into .venv,
# and nothing outside this folder is touched.

PYTHON ?= python3
BIN := .venv/bin
PROTOS := $(shell find protos -name '*.proto')
TESTS ?= tests

.PHONY: help demo test check format lock up down user user-authenticate bench clean

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

demo: .venv/ready ## Run the whole system on a local AWS and print its report (KEEP=1: leave it running)
	@$(BIN)/cloudigrade demo $(if $(KEEP),--keep)

test: .venv/ready ## Run every test that this machine can run
	@$(BIN)/pytest $(TESTS)

check: .venv/ready ## Lint, format, types, protos, import rules, lock
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/buf lint
	@$(BIN)/buf format --diff --exit-code
	@$(BIN)/lint-imports
	@$(BIN)/python tools/check_lock.py

format: .venv/ready ## Put code and protos into their standard form
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format
	@$(BIN)/buf format --write

up: .venv/ready ## Run all four services here, with the embedded database and broker (stop: make down)
	@$(BIN)/cloudigrade up --detach

down: ## Stop what `make up` started
	@$(BIN)/cloudigrade down

user: .venv/ready ## Create a user (NAME=..., ROLE=admin|member)
	@$(BIN)/cloudigrade user create $(if $(NAME),"$(NAME)") $(if $(ROLE),--role "$(ROLE)")

user-authenticate: .venv/ready ## Make a token for a user (NAME=...) and print it once
	@$(BIN)/cloudigrade token create $(if $(NAME),"$(NAME)")

bench: .venv/ready ## Measure the event path and the report path, each beside its baseline
	@$(BIN)/python -m bench

lock: .venv/uv ## Pin every dependency, with hashes
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --quiet \
	  --custom-compile-command "make lock" $(LOCK_OPTIONS) -o requirements.lock

clean: ## Remove what was built here (not .cloudigrade, which holds data)
	@rm -rf .venv .cache dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

.venv/uv: tools/fetch_uv.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cloudigrade needs Python 3.11 or newer; name one with make PYTHON=...")'
	@$(PYTHON) -m venv --without-pip .venv
	@$(BIN)/python tools/fetch_uv.py requirements.lock $(BIN)
	@touch $@

.venv/locked: .venv/uv requirements.lock
	@echo "Installing what requirements.lock pins into .venv ..."
	@VIRTUAL_ENV=.venv $(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	@touch $@

# Without build isolation: the build's own tools are pinned by the lock like all the rest.
.venv/ready: .venv/locked pyproject.toml hatch_build.py $(PROTOS)
	@VIRTUAL_ENV=.venv PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
