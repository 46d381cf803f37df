# Targets for people and for .ci/run. `make help` lists them.

SHELL := /bin/bash
CACHE := $(or $(EMR_ECR_AGENT_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/emr-ecr-agent)
PARTS := tests/parts/install.sh
SCRIPTS := $(shell git ls-files '*.sh' systemd/keytab-generator .ci/run 2>/dev/null)

# The Hadoop version for tests, demo and benchmarks, and those of `make matrix`.
export HADOOP ?= $(shell awk '!/^\#/ { print; exit }' tests/parts/hadoop/versions)
OTHER_HADOOPS := $(shell awk '!/^\#/' tests/parts/hadoop/versions | tail -n +2)

# Tests run the agent's binary, which cargo builds automatically only for tests of its own package.
BUILD := cargo build --quiet --workspace --bins --tests

DEMO_PROGRAMS := demo emr-ecr-agent container-executor reaper keeper

FUZZ_SECONDS ?= 30
TORTURE_SECONDS ?= 180

.DEFAULT_GOAL := help

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## As root, show the main job on a YARN cluster with Docker; KEEP=1 leaves it running
	@# In parallel, since each takes minutes on a fresh machine.
	@$(PARTS) --only hadoop --only registry --only docker & \
		cargo build --quiet --workspace $(addprefix --bin ,$(DEMO_PROGRAMS)); \
		built=$$?; wait $$! && exit $$built
	@KEEP=$(KEEP) target/debug/demo

.PHONY: demo-spark
demo-spark: ## As root, run Spark jobs of four token lifetimes with the agent and with a copy made by hand (6 min)
	@$(PARTS) --only hadoop --only registry --only docker --only spark
	@cargo build --quiet --workspace --bins
	@target/debug/demo-spark

.PHONY: test
test: ## Run all tests, including those on real servers; HADOOP=3.2.2 uses another version
	@$(PARTS) --only nextest --only hadoop --only registry --only docker --only kerberos --only prometheus --only recipes
	@$(BUILD)
	@PATH="$(CACHE)/nextest/bin:$$PATH" cargo nextest run --workspace

.PHONY: launches
launches: ## As root, try all recorded launches and all faults on a real YARN cluster with Docker (6 min); `make test` tries some
	@$(PARTS) --only nextest --only hadoop --only registry --only docker --only kerberos
	@$(BUILD)
	@LAUNCHES=all PATH="$(CACHE)/nextest/bin:$$PATH" cargo nextest run --workspace --test launches --test faults_consumer

.PHONY: matrix
matrix: ## Run the HDFS tests on the other versions of Hadoop
	@$(PARTS) --only nextest --only registry --only kerberos
	@for version in $(OTHER_HADOOPS); do HADOOP=$$version $(PARTS) --only hadoop || exit; done
	@$(BUILD)
	@for version in $(OTHER_HADOOPS); do \
		echo "Hadoop $$version"; \
		HADOOP=$$version PATH="$(CACHE)/nextest/bin:$$PATH" \
			cargo nextest run --workspace --profile matrix || exit; \
	done

.PHONY: storm
storm: ## As root, launch STORM_LAUNCHES (300) private images with tokens valid for 20 s, by the agent and by a script (12 min)
	@$(PARTS) --only hadoop --only registry --only docker
	@cargo build --quiet --workspace --bins
	@STORM_LAUNCHES=$(STORM_LAUNCHES) target/debug/storm

.PHONY: torture
torture: ## Try for TORTURE_SECONDS (180) to make readers see a bad file; ARGS=--json
	@$(PARTS) --only hadoop
	@cargo build --quiet --workspace --bins
	@TORTURE_SECONDS=$(TORTURE_SECONDS) target/debug/torture $(ARGS)

.PHONY: bench
bench: ## Measure the agent against the tools it replaces; BENCH_STRICT=1 enforces the targets
	@$(PARTS) --only hadoop --only bench
	@bootstrap/package.sh --arch "$$(uname -m)" --out target/package
	@cargo build --quiet --workspace --bins
	@mkdir -p target/bench
	@# bench runs the programs in its own directory: put the packaged agent there.
	@tar -xzf target/package/*.tar.gz -C target/bench --strip-components 1 --wildcards '*/emr-ecr-agent'
	@ln -f target/debug/bench target/debug/reaper target/bench/
	@target/bench/bench

.PHONY: fresh-test
fresh-test: ## As root, run each of ONLY="lint audit demo test node-test" on a bare Debian 12
	@$(PARTS) --only fresh
	@tests/fresh/run.sh $(ONLY)

.PHONY: lint
lint: ## Check formatting, clippy, documentation links, shell scripts, and that planted bugs apply
	@$(PARTS) --only lint
	cargo fmt --all --check
	@cargo metadata --quiet --locked --format-version 1 >/dev/null
	@cargo metadata --quiet --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	cargo clippy --quiet --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --quiet --workspace --no-deps
	@$(CACHE)/lint/bin/shellcheck $(SCRIPTS)
	@for patch in tests/planted-bugs/*.patch; do git apply --check "$$patch" || exit; done

.PHONY: audit
audit: ## Check the dependencies' licenses, bans and sources; ADVISORY_DB=PATH adds advisories
	@$(PARTS) --only audit
	@$(CACHE)/audit/bin/cargo-deny --log-level error check licenses bans sources
ifdef ADVISORY_DB
	@git -C "$(ADVISORY_DB)" log -1 --format='audit: newest advisory: %cs' main
	@# cargo-deny fetches the database from its usual URL; git substitutes this path.
	@GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.file://$(abspath $(ADVISORY_DB)).insteadOf" \
		GIT_CONFIG_VALUE_0=https://github.com/RustSec/advisory-db \
		$(CACHE)/audit/bin/cargo-deny --log-level error check advisories
else
	@echo "audit: no advisory database consulted; pass a clone of RustSec's as ADVISORY_DB=PATH"
endif

.PHONY: fuzz
fuzz: ## Fuzz every parser for FUZZ_SECONDS each (30), and try new cases in the property tests
	@$(PARTS) --only fuzz
	@PROPTEST_RNG_SEED="$$(date +%s)" PROPTEST_CASES=2000 \
		cargo test --quiet --package hadoop-rules --package emr-ecr-agent-domain --lib --tests
	@# Sanitizers need a nightly compiler, and the parsers have no unsafe code for them to check.
	@for target in fuzz/fuzz_targets/*.rs; do \
		PATH="$(CACHE)/fuzz/bin:$$PATH" cargo fuzz run --sanitizer none "$$(basename "$$target" .rs)" -- \
			-max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096 -timeout=10 -print_final_stats=1 || exit 1; \
	done

.PHONY: simulate
simulate: ## Simulate clusters of 1 to 10,000 nodes; SIMULATE="--nodes 100 --days 3"
	@cargo build --quiet --profile simulation --workspace --bin simulate
	@target/simulation/simulate $(SIMULATE)

.PHONY: model
model: ## Explore every order of events, mishaps and attacks on three nodes, up to a bound (1 min)
	@cargo build --quiet --profile simulation --workspace --bin model
	@target/simulation/model

.PHONY: planted-bugs
planted-bugs: ## Plant one bug after another in a copy of the tree, and see what finds it; ONLY="name name" selects
	@$(PARTS) --only hadoop
	@tests/planted-bugs/run.sh

.PHONY: mutants
mutants: ## Change hadoop-rules in one place after another, and see whether its tests notice (half an hour)
	@$(PARTS) --only mutants
	@PATH="$(CACHE)/mutants/bin:$$PATH" tests/mutants/run.sh

.PHONY: package
package: ## Build tarballs, RPMs and install.sh for both architectures in dist/
	@bootstrap/package.sh

# The packages to test: DIST=dist uses those of `make package`; by default they are built for this machine.
DIST ?= target/package

.PHONY: node-test
node-test: ## As root, install, break and upgrade the package on a booted node; DIST=dist uses existing packages
	@$(PARTS) --only hadoop --only kerberos --only node --only package --only registry --only docker
	@[[ "$(origin DIST)" != file ]] || bootstrap/package.sh --arch "$$(uname -m)" --out $(DIST)
	@cargo build --quiet --workspace --bins
	@target/debug/node-test $(DIST)

# The directory with a release, and the keys for it.
RELEASE ?= dist

.PHONY: sign-release
sign-release: ## Sign dist/: KEY=key.pem for SHA256SUMS, RPM_KEY=NAME for the RPMs
	@bootstrap/sign.sh --key "$(KEY)" $(if $(RPM_KEY),--rpm-key "$(RPM_KEY)") $(RELEASE)

.PHONY: verify-release
verify-release: ## Check RELEASE (dist): signature by PUBLIC_KEY, digests, and that this commit builds the same bytes
	@bootstrap/verify-release.sh $(if $(PUBLIC_KEY),--public-key "$(PUBLIC_KEY)") $(RELEASE)

.PHONY: release
release: ## Build the optimized binary for this machine
	cargo build --release --package emr-ecr-agent

.PHONY: parts
parts: ## Install the servers that the demo and the tests use
	@$(PARTS)

.PHONY: clean
clean: ## Remove build output; the cache directory stays
	cargo clean
