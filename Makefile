# Every target installs what it needs (as root, on Debian 12: git, make, python3.11 and apt are enough).
# GUARDIAN_TEST_CACHE is where that and everything built lies, outside the checkout.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Expanded in recipes only, so that `make help` installs nothing.
VENV = $$(tests/venv.sh)
# dpkg-buildpackage wants build-essential as a whole.
PACKAGING = gcc=gcc g++=build-essential dh=debhelper dpkg-buildpackage=dpkg-dev $(NFTABLES)
NFTABLES := /usr/include/nftables/libnftables.h=libnftables-dev
FOLDERS := .ci guardian tests docs etc units packaging
# Scripts are known by their first line.
SCRIPTS = find $(FOLDERS) -type f -exec awk 'FNR == 1 && /^\#!.*\/(ba|da)?sh( |$$)/ { print FILENAME } { nextfile }' {} +

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

# --- what needs no test host -------------------------------------------------------------------------------------

.PHONY: check
check: ## style, types, the rules of the house, C and shell syntax
	tests/need.sh 'gcc=gcc libc6-dev' shellcheck=shellcheck $(NFTABLES)
	venv=$(VENV); $$venv/bin/ruff check .; $$venv/bin/ruff format --check .; $$venv/bin/mypy
	venv=$(VENV); $$venv/bin/pytest -q tests/unit/test_house.py tests/unit/test_generated.py
	shopt -s nullglob; for file in guardian/runtime/*.c; do \
		gcc -std=gnu11 -fsyntax-only -Wall -Wextra -Werror "$$file"; \
	done
	$(SCRIPTS) | while read -r file; do \
		if head -n 1 "$$file" | grep -q bash; then bash -n "$$file"; else sh -n "$$file"; fi; \
	done
	$(SCRIPTS) | xargs -r shellcheck --severity=warning

.PHONY: unit
unit: ## unit tests, in seconds
	tests/need.sh zstd=zstd
	venv=$(VENV); $$venv/bin/pytest -q --durations=3 tests/unit

.PHONY: images
images: ## the readers of CRIU's images, on images made on the spot
	venv=$(VENV); $$venv/bin/pytest -q --durations=3 tests/images

.PHONY: fuzz
fuzz: ## a million inputs into everything small that parses, C too, guided by atheris: an hour (RUNS=, SEED=, TARGETS=)
	tests/need.sh 'gcc=gcc libc6-dev' $(NFTABLES)
	venv=$(VENV); PYTHONPATH=$$(tests/fuzz/atheris.sh) $$venv/bin/python -m tests.fuzz.fast

.PHONY: fuzz-archives
fuzz-archives: ## archives damaged or made to harm, 100,000 of them, into an import (ROUNDS=, SEED=, JOBS=)
	tests/need.sh zstd=zstd
	venv=$(VENV); $$venv/bin/python -m tests.fuzz.archives

.PHONY: format
format: ## format the code and make anew what is generated from it
	venv=$(VENV); $$venv/bin/ruff check --fix-only --quiet .; $$venv/bin/ruff format .; $$venv/bin/python docs/generate.py

# --- what boots test hosts ---------------------------------------------------------------------------------------

# Two hosts side by side, a file of tests on one of them: they wait more than they work.
LANES ?= 2

.PHONY: host
host: ## the host suite: real systemd, dockerd and CRIU; HOST=trixie: Docker 26, STORE=containerd: its image store
	tests/need.sh $(PACKAGING)
	venv=$(VENV); $$venv/bin/pytest --numprocesses=$(LANES) --dist=loadfile --durations=10 tests/host

.PHONY: test
test: unit images host ## unit tests, images and the host suite: what .ci/run calls after check

# --- deb, demo, test-vm: below this line ---------------------------------------------------------------------------

.PHONY: deb
deb: ## the Debian package, into dist/
	tests/need.sh $(PACKAGING)
	packaging/build.sh dist

.PHONY: demo
demo: ## the main job, shown on a host made on the spot; KEEP=1 leaves it running, HOST=trixie takes Docker 26
	tests/need.sh $(PACKAGING)
	venv=$(VENV); $$venv/bin/python -m tests.demo

.PHONY: lab
lab: ## two hosts with guardian, to try moves by hand
	tests/need.sh $(PACKAGING)
	venv=$(VENV); $$venv/bin/python -m tests.two_hosts

.PHONY: test-vm
test-vm: ## a virtual machine with Debian's own kernel: a true reboot (half an hour from nothing, ten minutes cached)
	tests/need.sh $(PACKAGING)
	venv=$(VENV); $$venv/bin/pytest --durations=10 tests/vm

.PHONY: test-migrate
test-migrate: ## moves between two hosts, every fault at every step: half an hour
	tests/need.sh $(PACKAGING)
	venv=$(VENV); $$venv/bin/pytest --durations=10 tests/migrate

.PHONY: test-faults
test-faults: ## every fault at every step of a checkpoint's life; goes on where it stopped (JOBS=2, MINUTES=, ONLY=, AGAIN=1)
	tests/need.sh $(PACKAGING)
	venv=$(VENV); $$venv/bin/python -m tests.faults

.PHONY: test-races
test-races: ## what users do to a container, at every step of its save and resume; goes on where it stopped (JOBS=, ONLY=, MINUTES=, SEED=)
	tests/need.sh $(PACKAGING)
	venv=$(VENV); $$venv/bin/python -m tests.races

.PHONY: test-upgrade
test-upgrade: ## Docker 26 upgraded to 28 under running containers, once in the virtual machine; guardian up and down
	tests/need.sh $(PACKAGING)
	venv=$(VENV); $$venv/bin/pytest --durations=10 tests/upgrade

.PHONY: test-power
test-power: ## power cuts that lose the disk's cache, 3,000 of them, and guardians that must fail (CUTS=, BOOTS=, SEED=)
	tests/need.sh $(PACKAGING)
	venv=$(VENV); PYTHONPATH=$$(tests/pycriu.sh) $$venv/bin/pytest -s --durations=10 tests/power

.PHONY: test-many
test-many: ## 45 containers in one group, 5,000 processes, 20,000 open files: with nothing else running
	tests/need.sh $(PACKAGING)
	venv=$(VENV); $$venv/bin/python -m tests.many

.PHONY: bench-runtime
bench-runtime: ## the price of standing in the way, against the bare runc; run it with nothing else running
	tests/need.sh $(PACKAGING)
	venv=$(VENV); $$venv/bin/python -m tests.bench

.PHONY: bench-forensics
bench-forensics: ## looking into 1 GiB of memory, against grep and checkpointctl; with nothing else running (6 GiB of disk)
	tests/need.sh $(PACKAGING)
	venv=$(VENV); PYTHONPATH=$$(tests/pycriu.sh) $$venv/bin/python -m tests.bench.forensics

.PHONY: bench-at-rest
bench-at-rest: ## what hashes, encryption and overwriting cost; run it with nothing else running
	tests/need.sh $(PACKAGING)
	venv=$(VENV); $$venv/bin/python -m tests.bench.at_rest

.PHONY: bench-migrate
bench-migrate: ## 1 GiB to another host, against ssh, runc and podman; run it with nothing else running
	tests/need.sh $(PACKAGING)
	venv=$(VENV); $$venv/bin/python -m tests.bench.migrate

.PHONY: fuzz-images
fuzz-images: ## checkpoints damaged at random, 100,000 of them, for all that reads them: an hour (ROUNDS=, SEED=, PROGRAM=small, JOBS=)
	tests/need.sh $(PACKAGING)
	venv=$(VENV); PYTHONPATH=$$(tests/pycriu.sh) $$venv/bin/python -m tests.fuzz

.PHONY: test-all
test-all: ## everything, in two lanes, with a table at the end: about five hours
	tests/all.sh
