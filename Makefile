# Every target does its own set-up; `make` alone lists them. Longer recipes are in scripts/.

CARGO ?= cargo
# What `make run` and `make demo` pass on, as in: make run ARGS="--port 9000"
ARGS ?=
# Optimised, without link-time optimisation: from nothing it builds faster than the dev profile.
PROFILE ?= release-fast
# What `make mixed` runs beside this build, as in: make mixed PREVIOUS=v0.1.0
PREVIOUS ?=
# What `make image` calls the image.
IMAGE ?= tidings:local

.DEFAULT_GOAL := help
.PHONY: help setup build run demo test mixed lint fmt check docs deny autobahn fuzz helm image imageroot clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## Install what building and testing need (packages where run as root, else names them)
	@scripts/setup build test

build: ## Build the binary for production: target/release/tidings
	@scripts/setup build
	$(CARGO) build --locked --release --package tidings

run: ## Build and start dev mode: everything in one process, nothing to configure
	@scripts/setup build
	$(CARGO) run --locked --profile $(PROFILE) --package tidings -- dev $(ARGS)

demo: ## Play a believable swarm into the server that `make run` started
	$(CARGO) run --locked --profile $(PROFILE) --package tidings -- demo $(ARGS)

test: ## Run every test; the last line is their count
	@scripts/setup build test
	@scripts/test

mixed: ## Run the build of PREVIOUS (a tag or commit) beside this one, on one Redis
	@scripts/setup build test
	$(CARGO) build --locked --package tidings
	previous=$$(scripts/previous $(PREVIOUS)) && \
		TIDINGS_PREVIOUS=$$previous $(CARGO) test --locked --package tidings-tests --test mixed

lint: ## Clippy and the documentation's links, warnings as errors
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --package tidings-tests --test mixed -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

fmt: ## Format the code
	$(CARGO) fmt --all

check: ## Fast: format and types
	$(CARGO) fmt --all --check
	$(CARGO) check --locked --workspace --all-targets

docs: ## Write the generated parts of docs/ and of the chart's schema anew
	UPDATE_DOCS=1 $(CARGO) test --quiet --locked --package tidings-runtime manual
	scripts/helm-schema

deny: ## Licences, bans, sources and, where its database can be had, advisories of all dependencies
	@scripts/deny

autobahn: ## Judge the WebSocket crate by the Autobahn suite (needs Python 2.7, else says so)
	@crates/ws/autobahn/run

fuzz: ## Fuzz each decoder of outside bytes for FUZZ_SECONDS (60); needs a nightly toolchain, else says so
	@scripts/fuzz

helm: ## Lint, render and check the chart and deploy/; UPDATE_GOLDEN=1 writes the golden renders anew
	@scripts/setup build test
	$(CARGO) build --locked --package tidings
	@tests/helm/run

image: ## Build the image with Docker, as IMAGE (tidings:local)
	docker build --file deploy/Dockerfile --tag $(IMAGE) .

imageroot: build ## What the image holds, in target/image, without Docker; prints its size
	rm -rf target/image
	scripts/image-root target/release/tidings target/image

clean: ## Remove what was built and installed into this folder
	$(CARGO) clean
	rm -rf .tools .venv .venv-examples tests/*/node_modules fuzz/target fuzz/corpus fuzz/artifacts
