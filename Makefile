# `make` lists the targets. PYTHON=python3.12 names the interpreter; by default a supported one is looked for.
# Everything is installed into .venv, from the locks in requirements/.

PYTHON ?=
CORPUS ?=
PAIRS ?= ../shared/data/neardup/debdocs
BIN := .venv/bin

# Any Python 3 can run the installer, which chooses the one that .venv is made of.
launcher = $(shell for p in "$(PYTHON)" python3 python3.13 python3.12 python3.11 python3.10; do \
	if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null; then echo "$$p"; break; fi; done)
install = $(or $(launcher),$(error No Python 3 found. Install Python 3.10 to 3.13 (Debian and Ubuntu: sudo \
	apt-get install python3 python3-venv), then run the same command)) requirements/install.py --python="$(PYTHON)"

.DEFAULT_GOAL := help
.PHONY: help demo demo-stream test test-flink test-faults fuzz bench lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

demo: ## install what the jobs need and run them on documents made of the installed packages
	@$(install) demo
	@$(BIN)/python examples/demo.py

demo-stream: ## the same documents as a stream, in windows that close while one looks on; a minute, no Java
	@$(install) demo
	@$(BIN)/python examples/demo_stream.py

test: ## install everything, then formatting, lint, types and tests
	@$(install) dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -m 'not slow and not long' $(two)
	$(BIN)/pytest -m 'slow and not long' --ignore=tests/engines $(two)
	$(BIN)/pytest -m 'slow and not long' tests/engines

two = --numprocesses=2 --dist=loadfile

test-flink: ## the long form of the tests of engines: every mode and kill on Flink, and Spark; most of an hour
	@$(install) dev
	BEAM_ETL_REQUIRE_JAVA=1 $(BIN)/pytest tests/engines --flink=long --flink_report=flink.md -o faulthandler_timeout=3600

test-faults: ## the long form of the tests of faults, which writes the tables of docs/faults.md; half an hour
	@$(install) dev
	$(BIN)/pytest $(faults) --fault_report=docs/faults.md -o faulthandler_timeout=3600
	$(BIN)/python -m tests.kills docs/faults.md 12

faults = tests/test_faults.py tests/io/test_append_processes.py tests/io/test_commit.py tests/io/test_verify.py \
	tests/io/test_changes.py tests/io/test_careful.py tests/pipelines/test_append.py tests/pipelines/test_surviving.py \
	tests/pipelines/test_curate.py tests/pipelines/test_resume.py

fuzz: ## read a million changed files with each reader; hours
	@$(install) dev
	$(BIN)/python -W ignore -m tests.io.fuzzing 1000000

bench: ## measure beside what a user would pick instead: CORPUS=FILE.jsonl.gz with 2 GB of text; minutes
	@test -f "$(CORPUS)" || { echo 'Name the text to measure on, 2 GB of it: make bench CORPUS=FILE.jsonl.gz,' \
		'one document a line with id, url, domain, lang, date and text.'; exit 2; }
	@test -d "$(PAIRS)" || { echo 'Name a folder of documents with all their similar pairs: make bench PAIRS=FOLDER,' \
		'with docs.jsonl.gz and a .tsv.gz of id, id, Jaccard.'; exit 2; }
	@$(install) dev
	test -x .bench/peers/bin/python || $(BIN)/python -m venv .bench/peers
	.bench/peers/bin/pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
	test -d .bench/corpora || $(BIN)/python -m benchmarks.corpus --source="$(CORPUS)" --output=.bench/corpora \
		--sizes=0.14,0.25,1,2
	test -d .bench/corpora/copies || $(BIN)/python -m benchmarks.copies --source="$(CORPUS)" --output=.bench/corpora
	test -d .bench/corpora/uniform || $(BIN)/python -m benchmarks.hot --source="$(CORPUS)" --output=.bench/corpora
	.bench/peers/bin/python benchmarks/peers/hf_from_tiktoken.py cl100k_base .bench/tokenizer.json
	$(BIN)/python -m benchmarks.token_count --corpora=.bench/corpora --peers=.bench/peers \
		--tokenizer=.bench/tokenizer.json
	$(BIN)/python -m benchmarks.dedup --corpora=.bench/corpora --peers=.bench/peers --pairs="$(PAIRS)"
	$(BIN)/python -m benchmarks.inverted_index --corpora=.bench/corpora --peers=.bench/peers
	$(BIN)/python -m benchmarks.quality --corpora=.bench/corpora --peers=.bench/peers
	$(BIN)/python -m benchmarks.domain_score --corpora=.bench/corpora --peers=.bench/peers
	$(BIN)/python -m benchmarks.partitioning --corpora=.bench/corpora --peers=.bench/peers
	$(BIN)/python -m benchmarks.skew --corpora=.bench/corpora --peers=.bench/peers
	$(BIN)/python -m benchmarks.engines --corpora=.bench/corpora --peers=.bench/peers
	$(BIN)/python -m benchmarks.streaming --corpora=.bench/corpora --peers=.bench/peers
	test ! -d ../shared/data/warc || $(BIN)/python -m benchmarks.curate --corpora=.bench/corpora --peers=.bench/peers

lock: ## write requirements/*.txt anew: the newest versions that setup.py allows
	@$(install) dev
	$(BIN)/pip install --quiet --disable-pip-version-check 'uv>=0.13,<0.14'
	$(compile) --upgrade --extra=dev --output-file=requirements/dev.txt
	$(compile) --upgrade --constraints=requirements/dev.txt --output-file=requirements/demo.txt
	$(compile) --upgrade --constraints=requirements/dev.txt --output-file=requirements/dataflow.txt \
		--extra=tokens --extra=kafka --extra=warc --extra=gcp
	$(compile_to) requirements/tools.in --upgrade --constraints=requirements/dev.txt --output-file=requirements/tools.txt

compile_to = UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet \
	--universal --python-version=3.10 --generate-hashes --no-emit-index-url
compile = $(compile_to) setup.py requirements/build.in

clean: ## remove the environment, the demo's files and all caches
	rm -rf .venv .bench demo build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
