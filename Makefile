# The few words to type; .ci/run uses the same. `make help` lists them.

SHELL := /bin/bash
CACHE := $(or $(EMR_ECR_AGENT_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/emr-ecr-agent)
PARTS := tests/parts/install.sh
SCRIPTS := $(shell git ls-files '*.sh' .ci/run 2>/dev/null)

# The version of Hadoop that tests, demo and measurements run on, and those that `make matrix` adds.
export HADOOP ?= $(shell awk '!/^\#/ { print; exit }' tests/parts/hadoop/versions)
OTHER_HADOOPS := $(shell awk '!/^\#/' tests/parts/hadoop/versions | tail -n +2)

FUZZ_SECONDS ?= 30
TORTURE_SECONDS ?= 180

.DEFAULT_GOAL := help

.PHONY: help
help: ## List these words
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Show the main job on real parts; KEEP=1 leaves them running
	@$(PARTS) --only hadoop --only registry
	@cargo build --quiet --workspace --bins
	@KEEP=$(KEEP) target/debug/demo

.PHONY: test
test: ## Run all tests, also those on real parts; HADOOP=3.2.2 takes another version
	@$(PARTS) --only nextest --only hadoop --only registry --only kerberos
	@PATH="$(CACHE)/nextest/bin:$$PATH" cargo nextest run --workspace

.PHONY: matrix
matrix: ## Run the tests of publishing to HDFS on the other versions of Hadoop
	@$(PARTS) --only nextest --only registry --only kerberos
	@for version in $(OTHER_HADOOPS); do HADOOP=$$version $(PARTS) --only hadoop || exit; done
	@for version in $(OTHER_HADOOPS); do \
		echo "Hadoop $$version"; \
		HADOOP=$$version PATH="$(CACHE)/nextest/bin:$$PATH" \
			cargo nextest run --workspace --profile matrix || exit; \
	done

.PHONY: torture
torture: ## Prove for TORTURE_SECONDS (180) that readers never see a bad file; ARGS=--json
	@$(PARTS) --only hadoop
	@cargo build --quiet --workspace --bins
	@TORTURE_SECONDS=$(TORTURE_SECONDS) target/debug/torture $(ARGS)

.PHONY: bench
bench: ## Measure what it costs beside what is used without it (BENCH_STRICT=1: judge, too)
	@$(PARTS) --only hadoop --only bench
	@bootstrap/package.sh --arch "$$(uname -m)" --out target/package
	@cargo build --quiet --workspace --bins
	@mkdir -p target/bench
	@# Programs look for one another in their own folder: the bench for the agent as it is shipped.
	@tar -xzf target/package/*.tar.gz -C target/bench --strip-components 1 --wildcards '*/emr-ecr-agent'
	@ln -f target/debug/bench target/bench/
	@target/bench/bench

.PHONY: fresh-test
fresh-test: ## As root, run each of ONLY="lint audit demo test node-test" first on a bare Debian 12
	@$(PARTS) --only fresh
	@tests/fresh/run.sh $(ONLY)

.PHONY: lint
lint: ## Check formatting, clippy, the documentation's links and the shell scripts
	@$(PARTS) --only lint
	cargo fmt --all --check
	@cargo metadata --quiet --locked --format-version 1 >/dev/null
	@cargo metadata --quiet --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	cargo clippy --quiet --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --quiet --workspace --no-deps
	@$(CACHE)/lint/bin/shellcheck $(SCRIPTS)

.PHONY: audit
audit: ## Check licences, bans and sources of the dependencies; ADVISORY_DB=PATH: and advisories
	@$(PARTS) --only audit
	@$(CACHE)/audit/bin/cargo-deny --log-level error check licenses bans sources
ifdef ADVISORY_DB
	@git -C "$(ADVISORY_DB)" log -1 --format='audit: the newest advisory is of %cs' main
	@# cargo-deny has git fetch the database from its usual address; git takes this path for it.
	@GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.file://$(abspath $(ADVISORY_DB)).insteadOf" \
		GIT_CONFIG_VALUE_0=https://github.com/RustSec/advisory-db \
		$(CACHE)/audit/bin/cargo-deny --log-level error check advisories
else
	@echo "audit: no advisory database consulted; ADVISORY_DB=PATH takes a clone of RustSec's"
endif

.PHONY: fuzz
fuzz: ## Fuzz every parser for FUZZ_SECONDS each (30)
	@$(PARTS) --only fuzz
	@# The parsers have no unsafe code for a sanitizer to watch, and without one a stable compiler will do.
	@for target in fuzz/fuzz_targets/*.rs; do \
		PATH="$(CACHE)/fuzz/bin:$$PATH" cargo fuzz run --sanitizer none "$$(basename "$$target" .rs)" -- \
			-max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096 -timeout=10 -print_final_stats=1 || exit 1; \
	done

.PHONY: simulate
simulate: ## Run the agent's passes on 1 to 10,000 simulated nodes; SIMULATE="--nodes 100 --days 3"
	@cargo build --quiet --profile simulation --workspace --bin simulate
	@target/simulation/simulate $(SIMULATE)

.PHONY: package
package: ## Build dist/: tarballs, RPMs, install.sh, for both architectures
	@bootstrap/package.sh

# What is tried: what `make package` has built, by DIST=dist, otherwise what it builds for this machine.
DIST ?= target/package

.PHONY: node-test
node-test: ## As root, live the package's life on a booted node; DIST=dist takes what is there
	@$(PARTS) --only hadoop --only kerberos --only node --only package
	@[[ "$(origin DIST)" != file ]] || bootstrap/package.sh --arch "$$(uname -m)" --out $(DIST)
	@cargo build --quiet --workspace --bins
	@target/debug/node-test $(DIST)

.PHONY: release
release: ## Build the optimised binary for this machine
	cargo build --release --package emr-ecr-agent

.PHONY: parts
parts: ## Install the real parts that the demo and the tests use
	@$(PARTS)

.PHONY: clean
clean: ## Remove what was built; the cache folder stays
	cargo clean
