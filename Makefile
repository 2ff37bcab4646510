# Everything that people and scripts call. `make help` lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Where .ci/tools puts what the machine does not have.
export PATH := $(CURDIR)/.tools/bin:$(CURDIR)/.tools:$(PATH)

CARGO ?= cargo
# How many seeds the simulator and the other explorations take, and from which on.
SEEDS ?= 1000
FIRST ?= 0
# How many steps the store's model and a real etcd take side by side, and how many times leases end by themselves.
STEPS ?= 100000
EXPIRIES ?= 24
# A plan that has shown a difference, to be led again instead.
REPLAY ?=
# Which planted bugs; all when empty.
BUGS ?=
# Tier 4: which plan of faults, for how long, on how many members of etcd, under how many tasks a second.
SEED ?= 0
MINUTES ?= 5
MEMBERS ?= 3
RATE ?= 60
# What tier 2 is built with: `sim` runs many seeds fastest, `dev` is built fastest.
SIM_PROFILE ?= sim
# Which rows of the table of figures are measured, with commas between; all when empty. How often each throughput is.
ROWS ?=
ROUNDS ?= 3
# How long each fuzz target runs.
FUZZ_SECONDS ?= 300
# How many tasks the dashboard is measured, and pictured, with.
TASKS ?= 1000000
# How long each step of an overload lasts.
SECONDS_EACH ?= 20

LAST := $$(($(FIRST) + $(SEEDS)))
# Not `target`: the cfg would rebuild the world at each switch.
MADSIM_TARGET := target/madsim
MADSIM_FOLDER = $(MADSIM_TARGET)/$(if $(filter dev,$(SIM_PROFILE)),debug,$(SIM_PROFILE))
PLANTED_TARGET := target/planted

# Where fuzzers gather what they find.
FUZZ_CORPUS := target/fuzz

CLI := $(wildcard shell/src/main.rs)
SIM := $(wildcard sim/src/main.rs sim/src/bin.rs sim/src/bin/*.rs)
SIM_PORT := $(wildcard tests/tests/sim_port*.rs tests/tests/sim_port/main.rs)
FUZZ := $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))

# Says plainly that a thing does not exist yet, and fails.
need = $(if $(strip $($(1))),true,echo 'make $@: $(2) is not part of this version yet' >&2; exit 1)

.PHONY: help
help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{ printf "%-13s %s\n", $$1, $$2 }'

.PHONY: run
run: ## Build, then run a whole cluster in one process with a demo workload: no Docker, no etcd
	@$(call need,CLI,the windlass command)
	bash .ci/tools protoc
	$(CARGO) run --release --locked -p windlass -- dev --demo

.PHONY: test
test: tools ## The whole suite: format, lints, documentation, tests
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps
	$(CARGO) nextest run --locked --workspace
	$(CARGO) test --locked --workspace --doc
	RUSTFLAGS='--cfg madsim' CARGO_TARGET_DIR=$(MADSIM_TARGET) $(CARGO) clippy --locked -p windlass-sim -- -D warnings
	$(MAKE) sim-shell FIRST=0 SEEDS=10 SIM_PROFILE=dev

.PHONY: tools
tools: ## Install what the tests need and the machine lacks: protoc, etcd, cargo-nextest
	bash .ci/tools
	$(CARGO) nextest --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-nextest

.PHONY: fix
fix: ## Format, and repair what clippy can
	$(CARGO) clippy --locked --workspace --all-targets --fix --allow-dirty --allow-staged
	$(CARGO) fmt --all

.PHONY: bench
bench: tools ## Measure all that is to be reached, in a quarter of an hour; one report in target/bench; ROWS names some rows
	@$(call need,CLI,the windlass command)
	$(CARGO) run --profile dist --locked -p windlass-tests --bin windlass-bench -- \
	    --rounds $(ROUNDS) $(if $(ROWS),--rows $(ROWS))

# About four fifths of what a small machine does for good, while as many tasks go as come.
soak: RATE = 7300
soak: MINUTES = 30
.PHONY: soak
soak: tools ## Half an hour of RATE tasks a second on an etcd: is memory flat, are waits, is the store bounded, is nothing lost?
	$(CARGO) run --profile dist --locked -p windlass-tests --bin windlass-soak -- \
	    --rate $(RATE) --seconds $$(($(MINUTES) * 60))

.PHONY: bench-core
bench-core: ## Measure the core's parts: placement, view, store, codecs, keys, timers, retries
	$(CARGO) bench --locked -p windlass-core

.PHONY: sim
sim: ## Simulate SEEDS clusters under faults, tier 1
	@$(call need,SIM,the simulator)
	$(CARGO) run --profile sim --locked -p windlass-sim -- run --seeds $(FIRST)..$(LAST)

.PHONY: cells
cells: ## Simulate the plan for several cells: SEEDS runs in which queues move between stores, then its planted mistakes
	$(CARGO) run --profile sim --locked -p windlass-sim -- cells --seeds $(FIRST)..$(LAST)
	$(CARGO) run --profile sim --locked -p windlass-sim -- cells --planted --seeds $(FIRST)..$(LAST)

.PHONY: explore
explore: ## Try every fault, and every two, at every call of small stories
	$(CARGO) run --profile sim --locked -p windlass-sim -- explore

.PHONY: planted
planted: ## Count the seeds, SEEDS at most, until each planted bug is found; BUGS names some
	RUSTFLAGS='--cfg planted_bug="all"' CARGO_TARGET_DIR=$(PLANTED_TARGET) $(CARGO) build --locked -p windlass-sim --profile sim
	$(PLANTED_TARGET)/sim/windlass-sim planted --first $(FIRST) --seeds $(SEEDS) $(BUGS)

.PHONY: sim-shell
sim-shell: ## The real driver loop on a simulated executor, tier 2: one process a seed
	RUSTFLAGS='--cfg madsim' CARGO_TARGET_DIR=$(MADSIM_TARGET) $(CARGO) build --locked -p windlass-sim --profile $(SIM_PROFILE)
	$(MADSIM_FOLDER)/windlass-sim shell --seeds $(FIRST)..$(LAST)

.PHONY: sim-port
sim-port: tools ## The real etcd client on a simulated network, tier 3: SEEDS runs; one that fails says how to see it again
	@$(call need,SIM_PORT,the simulation of the etcd port)
	WINDLASS_SEEDS=$(FIRST)..$(LAST) $(CARGO) test --locked -p windlass-tests --test sim_port -- --nocapture the_port_keeps_its_promises

.PHONY: chaos
chaos: tools ## Break a real cluster for MINUTES by the plan of SEED, with MEMBERS of etcd, and judge it, tier 4
	$(CARGO) run --release --locked -p windlass-tests --bin windlass-chaos -- \
	    run --seed $(SEED) --seconds $$(($(MINUTES) * 60)) --members $(MEMBERS) --rate $(RATE)

.PHONY: compose-test
compose-test: tools ## The Compose files as users call them, with containers killed; needs Docker, makes missing base images
	deploy/test/compose.sh one
	deploy/test/compose.sh ha

.PHONY: conformance
conformance: tools ## Compare the store's model with a real etcd over STEPS random steps; WINDLASS_ETCD names another etcd
	WINDLASS_STEPS=$(STEPS) WINDLASS_SEED=$(FIRST) WINDLASS_EXPIRIES=$(EXPIRIES) $(if $(REPLAY),WINDLASS_REPLAY=$(abspath $(REPLAY))) \
	    $(CARGO) test --locked -p windlass-tests --test conformance -- --nocapture --test-threads=1 $(if $(REPLAY),the_model_answers)

# The browser is the distribution's own, and what drives it comes from the Python registry: no other browser is fetched.
.PHONY: dashboard-test
dashboard-test: tools ## What people do with the dashboard, done by Chromium on the real binary; pictures in target/dashboard
	bash .ci/tools dashboard
	$(CARGO) build --locked -p windlass
	cd tests/dashboard && "$(CURDIR)/.tools/dashboard/bin/python" -m unittest -v

# Not part of the suite: it takes minutes, 3 GB of memory and 2 GB of disk.
.PHONY: dashboard-million
dashboard-million: ## What the API and the dashboard cost with TASKS tasks, in release; prints figures
	bash .ci/tools dashboard
	$(CARGO) build --release --locked -p windlass
	cd tests/dashboard && WINDLASS_BINARY="$(CURDIR)/target/release/windlass" \
	    "$(CURDIR)/.tools/dashboard/bin/python" million.py --tasks $(TASKS)

.PHONY: pictures
pictures: ## Renew the guide's pictures from the running product, with TASKS tasks
	bash .ci/tools dashboard
	$(CARGO) build --release --locked -p windlass
	cd tests/dashboard && WINDLASS_BINARY="$(CURDIR)/target/release/windlass" \
	    "$(CURDIR)/.tools/dashboard/bin/python" million.py --tasks $(TASKS) --only pictures

# Not part of the suite: it takes ten minutes and 6 GB of memory.
.PHONY: scale
scale: ## What a task costs as waiting tasks, workers, queues and schedulers grow; renews the guide's pictures of it, and judges
	$(CARGO) bench --locked -p windlass-sim --bench scale -- --pictures "$(CURDIR)/docs/guide/src/pictures"

.PHONY: overload
overload: tools ## Ask the real server for ten times what it can do, in release, SECONDS_EACH a step; judges the figures
	WINDLASS_OVERLOAD_SECONDS=$(SECONDS_EACH) WINDLASS_OVERLOAD_JUDGED=1 WINDLASS_CROWD=10000 \
	    $(CARGO) test --release --locked -p windlass-tests --test overload -- --nocapture --test-threads=1

# All of it is safe Rust: no sanitizer, and so no nightly toolchain. What is found interesting stays out of the committed
# corpora.
.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZ_SECONDS; needs a C++ compiler
	@$(call need,FUZZ,a fuzz target)
	$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	for target in $(FUZZ); do \
		mkdir -p $(FUZZ_CORPUS)/$$target; \
		$(CARGO) fuzz run --fuzz-dir fuzz --sanitizer none $$target $(FUZZ_CORPUS)/$$target fuzz/corpus/$$target \
			-- -max_total_time=$(FUZZ_SECONDS) -max_len=2048 -timeout=30 -print_final_stats=1; \
	done

.PHONY: guide
guide: ## The guide as pages, in target/guide
	mdbook --version >/dev/null 2>&1 || $(CARGO) install --locked mdbook
	mdbook build docs/guide --dest-dir $(CURDIR)/target/guide

.PHONY: coverage
coverage: tools ## Which lines the tests reach, as pages in target/llvm-cov
	$(CARGO) llvm-cov --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-llvm-cov
	$(CARGO) llvm-cov nextest --locked --workspace --html

.PHONY: licences
licences: ## Licences, advisories and doubles among the dependencies; needs cargo-deny
	$(CARGO) deny --version >/dev/null 2>&1 || { echo 'make licences: install cargo-deny first' >&2; exit 1; }
	$(CARGO) deny --locked check
