# Hubbleflow. `make demo` and `make test` set up all that they need.
#
#   make demo      a sample survey on an S3 server, a cluster of two processes, predictions
#   make test      every test, also of other Parquet readers, in a Python venv
#   make chaos     two hundred clusters killed at random moments
#   make test-moto the conformance suite against moto, an S3 of another make
#   make test-cuda tests that need a GPU, with PyTorch's libraries for it (a download of up to 3 GB)
#   make test-kernels the kernels for GPUs in an interpreter, and whether the compiled ones are of these sources (up to 3 GB)
#   make test-torch imports of files that PyTorch itself saved (a download of up to 3 GB)
#   make test-peers that the other tools of bench-peers predict the same (a download of up to 4 GB)
#   make fuzz      input of each kind, made by a fuzzer for a minute (FUZZ_SECONDS=600)
#   make lint      format, order of the source, clippy, documentation
#   make deny      licences and sources of all dependencies
#   make bench     timings of this machine (the model beside PyTorch: scripts/bench-inference.sh)
#   make bench-peers the same job by other tools: PyTorch, OpenVINO, Ray Data, Daft (a download of up to 4 GB)
#   make bench-collectives allreduce and its like beside Open MPI over TCP
#   make install   PREFIX=/usr/local: bin/hubbleflow and lib/hubbleflow, which can be moved together
#
# Everything is built for release, together: dependencies are compiled once, and the tests run what users run.

SHELL    := bash
CARGO    := cargo
PREFIX   ?= /usr/local
TARGET   := $(or $(CARGO_TARGET_DIR),target)
PYTHON   := .venv/bin/python

.PHONY: demo build test chaos test-moto test-cuda test-kernels test-torch test-peers kernels bench bench-peers bench-collectives fuzz lint deny install clean
.DEFAULT_GOAL := build

build: .libtorch
	$(CARGO) build --release --workspace --all-targets

# Builds the program only: tests and examples would take as long again.
demo: .libtorch
	$(CARGO) build --release --workspace --bin hubbleflow
	$(TARGET)/release/hubbleflow demo

# Random tests try the same cases in each run, so that a change is judged by what it changes. PROPTEST_RNG_SEED=2 tries others.
test: export PROPTEST_RNG_SEED ?= 1
test: build .venv/ready
	$(CARGO) test --release --workspace --no-fail-fast

# Half of the trials use local files, half a bucket.
chaos: export HUBBLEFLOW_CHAOS_TRIALS ?= 100
chaos: export HUBBLEFLOW_CHAOS_SEED ?= $(shell echo $$RANDOM)
chaos: build
	$(CARGO) test --release --workspace --test promises chaos -- --nocapture

test-moto: build .venv/ready
	$(CARGO) test --release --workspace --test promises moto -- --ignored

test-torch: build .venv-torch/ready
	$(CARGO) test --release --workspace --test promises by_pytorch -- --ignored

test-cuda: build .venv-torch/ready
	LD_LIBRARY_PATH=$$(echo $(CURDIR)/.venv-torch/lib/python3*/site-packages/torch/lib) \
		$(CARGO) test --release --workspace --lib cuda:: -- --ignored --test-threads=1

kernels: .venv-kernels/ready
	.venv-kernels/bin/python models/kernels/compile.py

test-kernels: .venv-kernels/ready
	for kernels in encoder inception; do \
		TRITON_INTERPRET=1 .venv-kernels/bin/python models/kernels/check_$$kernels.py || exit 1; \
	done
	.venv-kernels/bin/python models/kernels/compile.py $(TARGET)/kernels
	diff -rq models/kernels/compiled $(TARGET)/kernels/kernels/compiled && \
		diff -q models/src/cuda/compiled.rs $(TARGET)/kernels/src/cuda/compiled.rs || \
		{ echo 'The committed kernels are not what their sources give. Run `make kernels` and commit what it writes.'; exit 1; }

test-peers: build .venv-peers/ready
	.venv-peers/bin/python examples/peers/check.py $(TARGET)/release/hubbleflow

bench: build
	scripts/bench.sh $(TARGET)/release/hubbleflow

bench-peers: build .venv-peers/ready
	.venv-peers/bin/python examples/peers/bench.py $(TARGET)/release/hubbleflow models/pretrained/pcm-astromae

bench-collectives: build .venv-mpi/ready
	.venv-mpi/bin/python examples/peers/collectives.py $(TARGET)/release/hubbleflow

# Without sanitizers stable Rust will do; memory is bounded all the same. Findings are in fuzz/artifacts, and what was tried
# in fuzz/corpus.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := parquet model ledger import settings hosts greeting
fuzz: export RUSTC_BOOTSTRAP := 1
fuzz: .libtorch
	command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target; \
		$(CARGO) fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=800 -timeout=20 || exit 1; \
	done

lint: .libtorch
	$(CARGO) fmt --all --check
	python3 scripts/check_house.py
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --workspace --no-deps --quiet

deny:
	command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check licenses bans sources

install: build
	install -D -m 755 $(TARGET)/release/hubbleflow $(DESTDIR)$(PREFIX)/bin/hubbleflow
	install -d $(DESTDIR)$(PREFIX)/lib/hubbleflow
	cp -L .libtorch/lib/*.so* $(DESTDIR)$(PREFIX)/lib/hubbleflow/
	cp -R models/pretrained $(DESTDIR)$(PREFIX)/lib/hubbleflow/

.libtorch:
	scripts/get-libtorch.sh

.venv/ready: tests/requirements.txt
	python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --requirement tests/requirements.txt
	touch $@

.venv-torch/ready: tests/requirements.txt tests/requirements-torch.txt
	python3 -m venv .venv-torch
	.venv-torch/bin/python -m pip install --quiet --disable-pip-version-check $(foreach file,$^,--requirement $(file))
	touch $@

.venv-peers/ready: examples/peers/requirements.txt
	python3 -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

.venv-kernels/ready: models/kernels/requirements.txt
	python3 -m venv .venv-kernels
	.venv-kernels/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

.venv-mpi/ready: examples/peers/requirements-mpi.txt
	python3 -m venv .venv-mpi
	.venv-mpi/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

clean:
	rm -rf .demo .venv .venv-torch .venv-kernels .venv-peers .venv-mpi .peers
	$(CARGO) clean
