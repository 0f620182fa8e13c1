# Everything a developer or CI runs. Each target installs what it needs, and costs nothing when
# that is already there.
.DEFAULT_GOAL := help
SHELL := bash
BIN := .venv/bin

.PHONY: help run test check unit fmt docs bench soak clean venv servers

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

run: venv ## Run streamd with the embedded default configuration (needs no server)
	$(BIN)/streamd --config streamd.toml

test: check servers ## All checks and all tests, with real servers; what CI runs
	$(BIN)/python -m scripts.run_tests --durations=10

check: venv ## Formatting, lint and types
	@scripts/check

unit: venv ## Only the tests that need no server
	$(BIN)/pytest -m 'not integration and not soak'

fmt: venv ## Format, and fix what can be fixed by itself
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

docs: venv ## Write what is generated: docs/plugins, tables in READMEs, the JSON Schema, the units
	$(BIN)/python -m streamd.cli.docs

bench: servers ## Benchmarks against real servers
	$(BIN)/python -m benchmarks

soak: servers ## The long tests
	$(BIN)/pytest -m soak -s

clean: ## Remove the venv and caches of this work tree (downloaded servers stay)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@scripts/setup-venv

servers: venv
	@$(BIN)/python -m scripts.install_servers
