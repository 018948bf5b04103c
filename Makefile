# What people and the continuous integration type. Every step says what it does.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

QUAYSIDE_CACHE ?= $(HOME)/.cache/quayside
export QUAYSIDE_CACHE
export PATH := $(QUAYSIDE_CACHE)/cargo/bin:$(PATH)

PORT ?= 8080
DATA ?= ./data
ORGANIZATIONS ?= deploy/local/organizations.yaml

say = @printf '==> %s\n' "$(1)"

.PHONY: help run run-replicas replica-tools test tools long-tools format lint deny rules unit e2e long torture parsers generate

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Build the registry and run it on 127.0.0.1 (PORT=, DATA=, ORGANIZATIONS=)
	$(call say,building and starting the registry on 127.0.0.1:$(PORT)$(,) data in $(DATA))
	@PORT='$(PORT)' DATA='$(DATA)' ORGANIZATIONS='$(ORGANIZATIONS)' deploy/local/run.sh

REPLICAS ?= 2

run-replicas: replica-tools ## Run replicas with PostgreSQL and S3 on 127.0.0.1 (PORT=, DATA=, ORGANIZATIONS=, REPLICAS=)
	$(call say,building and starting $(REPLICAS) replicas behind 127.0.0.1:$(PORT))
	@PORT='$(PORT)' DATA='$(if $(filter command line environment,$(origin DATA)),$(DATA),./data-replicas)' \
	  ORGANIZATIONS='$(ORGANIZATIONS)' REPLICAS='$(REPLICAS)' deploy/local/run-replicas.sh

replica-tools:
	$(call say,installing PostgreSQL and the S3 server)
	@tests/tools/install.sh replicas

test: tools format lint deny rules ## Everything that must be true before a commit
	$(call say,running all tests)
	@cargo nextest run --locked --workspace

tools: ## Install what the tests drive (Debian packages; the rest into QUAYSIDE_CACHE)
	$(call say,installing the tools of the tests)
	@tests/tools/install.sh

long-tools:
	$(call say,installing the tools of the long tests)
	@tests/tools/install.sh long

format:
	$(call say,checking the format)
	@cargo fmt --all --check

lint:
	$(call say,linting all targets)
	@cargo clippy --locked --workspace --all-targets -- -D warnings

deny:
	$(call say,checking dependencies: walls between crates$(,) licenses$(,) sources)
	@cargo deny --locked --workspace check bans licenses sources

rules: ## Check that every rule of the specification asked for so far is named by a test
	$(call say,checking that every rule asked for is named by a test)
	@tests/rules/check_test.sh
	@tests/rules/check.sh

unit: ## The tests that start no other program
	$(call say,running the tests of the crates)
	@cargo nextest run --locked --workspace --exclude quayside-tests

e2e: tools ## The tests that drive real clients and real registries
	$(call say,running the end-to-end tests)
	@cargo nextest run --locked --package quayside-tests

long: long-tools ## All tests in their long form: more clients, more data, more time
	$(call say,running all tests in their long form)
	@QUAYSIDE_LONG=1 cargo nextest run --locked --workspace --profile long
	@cargo nextest run --locked --package quayside-tests --test long --profile long
	@$(MAKE) parsers

torture: tools ## What may lose or leak something, in its long form (docs/testing.md)
	$(call say,killing the registry$(,) its disk and its upstreams in every way there is)
	@QUAYSIDE_LONG=1 cargo nextest run --locked --profile long \
	  --package quayside-tests --package quayside-metadata --package quayside-registry \
	  --filterset 'test(/^(torture|disk_faults|upstream_faults|scrub|memory)::/) or test(/random/)'
	@$(MAKE) parsers

PARSER_CASES ?= 1000000

parsers: ## A million cases for every property of the parsers (PARSER_CASES=)
	$(call say,trying $(PARSER_CASES) cases of every property of the parsers)
	@PROPTEST_CASES=$(PARSER_CASES) cargo nextest run --locked --cargo-profile long --profile parsers \
	  --package quayside-oci --package quayside-config --package quayside-upstream --package quayside-registry

generate: ## Write the files that are made from code
	$(call say,writing docs/reference/config.schema.json)
	@mkdir -p docs/reference
	@cargo run --locked --quiet --package quayside-registry --bin quayside-registry -- config schema \
	  >docs/reference/config.schema.json.new
	@mv docs/reference/config.schema.json.new docs/reference/config.schema.json

.PHONY: bench bench-quick bench-tools bench-programs bench-scale bench-docs

bench: bench-programs ## Measure beside nginx, varnish and distribution, and write docs/benchmarks.md
	$(call say,measuring: an hour on a quiet machine)
	@target/release/quayside-bench run
	@target/release/quayside-bench report --docs docs

bench-quick: bench-programs ## The same in under five minutes; prints only
	$(call say,measuring in the quick form)
	@target/release/quayside-bench run --quick --out target/bench/quick

bench-tools:
	$(call say,installing what the benchmark compares with)
	@tests/tools/install.sh bench

bench-programs: bench-tools
	$(call say,building the registry and the benchmark)
	@cargo build --locked --release --package quayside-registry --package quayside-bench

bench-scale: ## Measure what could grow with what is stored, at 1k, 10k and 100k tags
	$(call say,building the registry and the benchmark)
	@cargo build --locked --release --package quayside-registry --package quayside-bench
	$(call say,measuring with 1k$(,) 10k and 100k tags)
	@target/release/quayside-bench scale

bench-docs: ## Write the results of the last benchmarks into docs/benchmarks.md
	$(call say,writing docs/benchmarks.md and docs/benchmarks)
	@cargo run --locked --quiet --release --package quayside-bench -- report --docs docs

# A comma that does not separate arguments.
, := ,
