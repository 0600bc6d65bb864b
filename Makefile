# `make` lists the targets. PYTHON=python3.12 names the interpreter; by default a supported one is looked for.
# Everything is installed into .venv, from the locks in requirements/.

PYTHON ?=
BIN := .venv/bin

# Any Python 3 can run the installer, which chooses the one that .venv is made of.
launcher = $(shell for p in "$(PYTHON)" python3 python3.13 python3.12 python3.11 python3.10; do \
	if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null; then echo "$$p"; break; fi; done)
install = $(or $(launcher),$(error No Python 3 found. Install Python 3.10 to 3.13 (Debian and Ubuntu: sudo \
	apt-get install python3 python3-venv), then run the same command)) requirements/install.py --python="$(PYTHON)"

.DEFAULT_GOAL := help
.PHONY: help demo test bench lock clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

demo: ## install what the jobs need and run them on documents made of the installed packages
	@$(install) demo
	@$(BIN)/python examples/demo.py

test: ## install everything, then formatting, lint, types and tests
	@$(install) dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

bench: ## measure beside what a user would pick instead (minutes; see docs/benchmarks.md)
	@$(install) dev
	$(BIN)/python benchmarks/run.py

lock: ## write requirements/*.txt anew: the newest versions that setup.py allows
	@$(install) dev
	$(BIN)/pip install --quiet --disable-pip-version-check 'uv>=0.13,<0.14'
	$(compile) --upgrade --extra=dev --output-file=requirements/dev.txt
	$(compile) --upgrade --constraints=requirements/dev.txt --output-file=requirements/demo.txt

compile = UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile setup.py requirements/build.in --quiet \
	--universal --python-version=3.10 --generate-hashes --no-emit-index-url

clean: ## remove the environment, the demo's files and all caches
	rm -rf .venv demo build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
