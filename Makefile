# The words of this project. Each sets up what it needs; `make serve` and `make test` work on a fresh clone.
.PHONY: help serve test check protos requirements load bench cluster-test
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/.tools/bin:$(PATH)

TARGET ?= localhost:50051
CALLS ?= 2000
CONCURRENCY ?= 32
WORKERS ?= 2

help:  ## list these words
	@sed -n 's/^\([a-z-]*\): .*## /\1	/p' $(MAKEFILE_LIST) | expand -t 16

.venv/.ready: requirements/setup requirements/dev.txt requirements/bootstrap.txt client/pyproject.toml service/pyproject.toml
	@requirements/setup

.tools/.ready: requirements/programs
	@requirements/programs && touch $@ || true

serve: .venv/.ready  ## set up, serve the built-in model on gRPC and HTTP, stream a first answer, stay up
	@service/quickstart

test: .venv/.ready .tools/.ready  ## set up, run every test (ARGS="-k drain" for some, WORKERS=0 for one process)
	@python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: .venv/.ready .tools/.ready  ## formats, lints, types, the contract and its stubs, the chart
	ruff format --check .
	ruff check .
	mypy client/penstock service/penstock_service service/penstock_gateway
	protos/check
	python -m pytest -q -m "not slow" tests/chart

protos: .venv/.ready  ## regenerate the committed stubs of the contract
	protos/generate

requirements: .venv/.ready  ## recompile the pinned requirements (ARGS=--upgrade for newer versions)
	requirements/compile $(ARGS)

load: .tools/.ready  ## load a running server with ghz, unary and stream (TARGET, CALLS, CONCURRENCY)
	@for call in Generate StreamGenerate; do \
	    ghz --insecure --import-paths protos --proto penstock/v1/generation.proto \
	        --call penstock.v1.Generation/$$call --total $(CALLS) --concurrency $(CONCURRENCY) --name $$call \
	        --data '{"prompt": "Once upon a time", "stopping": {"max_tokens": 32}}' $(TARGET) || exit 1; \
	done

bench: .venv/.ready  ## measure the front end and the callers beside AsyncLLM in process and `vllm serve`: two tables
	@python -m tests.benchmarks.front_end $(ARGS)
	@python -m tests.benchmarks.client_cost

cluster-test: .venv/.ready .tools/.ready  ## install the chart on the cluster of KUBECONFIG and load it
	@python -m pytest -m cluster tests/cluster $(ARGS)
