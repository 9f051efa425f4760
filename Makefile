# `make demo` and `make test` do everything on a fresh Debian machine, as root; the other targets are their parts.

SHELL := /bin/bash -o pipefail
DESTDIR ?=
CNI_BIN_DIR ?= /opt/cni/bin
PREFIX ?= /usr/local
# Not empty: other plugins that are called macvlan, ipvlan or host-local go aside, until uninstall gives them back.
REPLACE ?=
# Not empty: also where podman 5 looks for plugins, such as /usr/local/libexec/netavark.
NETAVARK_DIR ?=
# Debian's Python: the environment of the build is the same on every machine, whatever else lies in PATH.
PYTHON := /usr/bin/python3
VENV := .venv
PACKAGES := cni_core cni_macvlan_py cni_ipvlan_py ipam cni_cli
SOURCES := $(shell find $(PACKAGES) launcher -name '*.py' -o -name '*.json' -o -name '*.c') build.spec $(wildcard packaging/tmpfiles.d/*)
SCHEMAS := $(wildcard cni_core/schema/*.json) cni_core/schema/generate.py
VALIDATORS := cni_core/schema/validators.py
BUILT := build/plugins
SECOND_TIER := build/second-tier
CNITOOL := build/cnitool
PEERS := build/peers/built
ETCD := build/etcd/etcd
PODMAN := build/debian/trixie/usr/bin/podman-compose
PLUGINS ?= dist/cni
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' cni_core/__init__.py)
RELEASE := cni-py-$(VERSION)-linux-$(shell uname -m)
ARCHIVE := dist/$(RELEASE).tar.gz
LAB := $(PYTHON) -m conformance.lab run

.PHONY: help demo test build install dist bench sizes profile soak lint unit reproducible lab kernel kernel-launcher \
	kernel-second-tier kernel-cluster kernel-faults conformance peers debian etcd clean

demo: build $(ETCD)  ## build, attach real containers, and show them talking
	@scripts/need demo
	@$(LAB) --timeout 170 -- $(PYTHON) -m conformance.demo dist/cni $(ETCD)

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*  ## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

test: lint unit etcd reproducible lab kernel  ## everything that must hold, in about half an hour

# What demo does, on another Debian than this one, from nothing: its Python and C library are other ones.
SUITE ?= trixie
debian:  ## the demo on another Debian: SUITE
	@scripts/on-debian $(SUITE) make demo

build: $(BUILT)  ## the plugins, in dist/cni

install: build  ## build, and install: CNI_BIN_DIR, PREFIX, DESTDIR, REPLACE=yes, NETAVARK_DIR
	@dist/cni/cni-macvlan-py install $(if $(REPLACE),--replace,--aliases) --destdir "$(DESTDIR)" --bin-dir "$(CNI_BIN_DIR)" --prefix "$(PREFIX)" \
		$(if $(NETAVARK_DIR),--netavark "$(NETAVARK_DIR)")

dist: $(ARCHIVE)  ## pack a release, with its licences and bill of materials

# On the host's kernel, which has macvlan nearly everywhere: User-Mode Linux's times say nothing. OPTIONS: --help.
bench: build $(SECOND_TIER) $(PODMAN) $(ETCD) $(VENV)/dev  ## our plugins and Go's in pairs
	@scripts/need bench
	@$(LAB) --kernel host -- $(PYTHON) -m conformance.bench --write $(OPTIONS)
	@$(LAB) --kernel host -- $(PYTHON) -m conformance.bench.netavark --write
	@$(LAB) --kernel host -- $(VENV)/bin/python -m tests.etcd.bench --write

# What inputs cost that are as long as they may be: fails where one takes over 2 s of processor time, or 64 MiB.
sizes: build  ## what inputs cost that are as long as they may be
	@scripts/need bench
	@$(LAB) --kernel host --timeout 900 -- $(PYTHON) -m conformance.bench.sizes --write $(OPTIONS)

profile: build  ## where the time of a call goes
	@scripts/need bench
	@$(LAB) --kernel host -- $(PYTHON) -m conformance.bench.profile --write

lint: $(VENV)/dev $(VALIDATORS)  ## ruff and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The coverage of the walk (setup.cfg has its floor) by the tests that are of it: to measure the others takes minutes.
OF_THE_WALK := $(addprefix tests/unit/test_,attach.py claims.py dad.py hostaccess.py hostroutes.py parent.py policy.py probe.py \
	records.py tuning.py undo.py)

unit: $(VENV)/dev $(VALIDATORS)  ## the tests that need no kernel
	$(VENV)/bin/pytest tests/unit
	$(VENV)/bin/pytest --quiet --cov --cov-report=term $(OF_THE_WALK)

# The protocol of addresses that several hosts share, on a real etcd.
etcd: $(VENV)/dev $(VALIDATORS) $(ETCD)  ## the cluster's protocol on a real etcd
	@scripts/need etcd
	$(VENV)/bin/pytest tests/etcd

# The same sources at another place give the same bytes, in every file of a build.
reproducible: build  ## build twice, and compare every byte
	@rm -rf build/again && mkdir -p build/again
	@cp -a Makefile build.spec requirements.txt scripts launcher packaging $(PACKAGES) build/again/
	@mkdir build/again/build && ln -s ../../$(VENV) build/again/$(VENV)
	@cd build/again && $(MAKE) --no-print-directory build
	diff -r dist/cni build/again/dist/cni
	@rm -rf build/again

lab: $(VENV)/dev  ## the lab's own tests
	@scripts/need test
	$(VENV)/bin/pytest tests/lab --ignore tests/lab/test_topology.py --ignore tests/lab/test_uml.py
	@case "$$($(PYTHON) -m conformance.lab kernel)" in \
		host:*) echo "tests/lab/test_uml.py is not for this machine: its own kernel is the lab's" ;; \
		*) $(VENV)/bin/pytest tests/lab/test_uml.py ;; \
	esac
	$(LAB) --timeout 300 -- $(VENV)/bin/pytest tests/lab/test_topology.py

# Every test is run through each tier, but for those of the launcher, of the suite, of installing, of clusters (which run
# both), and those that run no program.
kernel: build $(SECOND_TIER) $(VENV)/dev $(CNITOOL) $(PEERS) $(ETCD) $(ARCHIVE) build/debian/bullseye $(PODMAN)  ## the frozen plugins on a real kernel
	@$(MAKE) --no-print-directory kernel-cluster
	@$(MAKE) --no-print-directory --jobs 2 kernel-launcher kernel-second-tier kernel-faults conformance peers

# By itself: an etcd that has to wait for a processor is one that is away.
OF_CLUSTERS := $(wildcard tests/kernel/test_lan_local*.py)

kernel-cluster:
	$(LAB) --timeout 1500 -- $(VENV)/bin/pytest $(OF_CLUSTERS)

# Two run at once, so each line says whose it is.
FROM = 2>&1 | sed --unbuffered 's/^/$(1) | /'

kernel-launcher:
	$(LAB) --timeout 3600 -- $(VENV)/bin/pytest tests/kernel $(addprefix --ignore ,$(OF_CLUSTERS)) $(call FROM,launcher)

kernel-second-tier:
	CNI_TIER=second $(LAB) --timeout 3600 -- $(VENV)/bin/pytest tests/kernel --ignore tests/kernel/test_launcher.py \
		--ignore tests/kernel/test_hostile.py --ignore tests/kernel/test_conformance.py \
		--ignore tests/kernel/test_install.py --ignore tests/kernel/test_image.py --ignore tests/kernel/test_elsewhere.py \
		$(addprefix --ignore ,$(OF_CLUSTERS)) --ignore tests/kernel/test_podman5.py $(call FROM,full program)

# The short forms of what soak does.
kernel-faults:
	$(LAB) --timeout 1800 -- $(PYTHON) -m conformance.faults dist/cni --faults SIGKILL $(call FROM,faults)
	$(LAB) --timeout 900 -- $(PYTHON) -m conformance.faults dist/cni --faults SIGTERM EIO --networks trunk --commands ADD \
		$(call FROM,faults)
	$(LAB) --timeout 900 -- $(PYTHON) -m conformance.storm dist/cni --pods 12 $(call FROM,storm)

# Of anybody's plugins: make conformance PLUGINS=/usr/lib/cni. OPTIONS: --help.
conformance: $(VENV)/dev $(if $(filter dist/cni,$(PLUGINS)),build)  ## the suite, for anybody's plugins: PLUGINS, OPTIONS
	@scripts/need test
	@$(VENV)/bin/python -m conformance --plugins $(PLUGINS) $(OPTIONS)

# The same by other people's tests: the Go plugins' own. OPTIONS: --help.
peers: $(PEERS) $(if $(filter dist/cni,$(PLUGINS)),build)  ## the Go plugins' own tests, for anybody's plugins: PLUGINS
	@scripts/need test
	@$(PYTHON) -m conformance.peers --plugins $(PLUGINS) --json build/peers/report.json $(OPTIONS)

HOSTILE := HYPOTHESIS_PROFILE=soak $(LAB) --timeout 3600 -- $(VENV)/bin/pytest -v --hypothesis-show-statistics \
	tests/unit/test_hostile.py tests/kernel/test_hostile.py

# What a container's root and whoever writes a configuration tries: a thousand calls under forgery, all that is long.
ATTACKS := $(addprefix tests/kernel/test_,hands_off.py sizes.py terminals.py)

# Hours: every fault at every point of every call, storms of 200 attachments, attacks, and an hour of hostile input.
soak: build $(SECOND_TIER) $(VENV)/dev  ## every fault, storms, attacks, hostile input, for hours
	@scripts/need test
	$(LAB) --timeout 36000 -- $(PYTHON) -m conformance.faults dist/cni
	$(LAB) --timeout 36000 -- $(PYTHON) -m conformance.storm dist/cni --rounds 10
	HYPOTHESIS_PROFILE=soak $(LAB) --timeout 7200 -- $(VENV)/bin/pytest -v $(ATTACKS)
	$(LAB) --kernel host --timeout 900 -- $(PYTHON) -m conformance.bench.sizes
	while ((SECONDS < 3600)); do $(HOSTILE) || exit; done

# The plugins as they are where there is no compiler.
$(SECOND_TIER): $(BUILT)
	@rm -rf $@ && mkdir -p $@ && ln -s ../../dist/cni/_internal $@/_internal
	@CC=none $(PYTHON) -m launcher.build $@ 2>/dev/null
	@touch $@

MADE = $$(git log -1 --format=%ct 2>/dev/null || echo 0)

# The same bytes from the same commit, as what is in it. Runs on every Linux of this architecture: it brings its C library.
$(ARCHIVE): $(BUILT) README.md SECURITY.md LICENSE CHANGELOG.md $(wildcard docs/* examples/* packaging/*/* packaging/*/*/*)
	@echo "packing $@…"
	@rm -rf build/release && mkdir -p build/release/$(RELEASE)
	@cp -a dist/cni/. README.md SECURITY.md LICENSE CHANGELOG.md docs examples packaging build/release/$(RELEASE)/
	@SOURCE_DATE_EPOCH=$(MADE) $(VENV)/bin/python -m launcher.bill dist/cni build/release/$(RELEASE)
	@tar -C build/release --sort=name --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w \
		--mtime=@$(MADE) -c $(RELEASE) | gzip -n9 >$@.new
	@rm -f dist/cni-py-*.tar.gz dist/cni-py-*.sha256  # of other versions
	@mv $@.new $@
	@cd dist && sha256sum $(@F) >$(@F).sha256
	@rm -rf build/release

clean:  ## remove all that was made
	rm -rf build dist $(VENV) $(VALIDATORS)

# The steps that leave files

INSTALL = $(VENV)/bin/pip install --quiet --disable-pip-version-check -r $(1) || \
	{ echo "What $(1) lists is missing in $(VENV), and pip could not install it: it needs a package index." >&2; exit 1; }

$(VENV)/build: requirements.txt scripts/need
	@scripts/need build
	@echo "setting up $(VENV)…"
	@$(PYTHON) -m venv $(VENV)
	@$(call INSTALL,requirements.txt)
	@touch $@

$(VENV)/dev: requirements-dev.txt $(VENV)/build
	@echo "installing what the tests need…"
	@$(call INSTALL,requirements-dev.txt)
	@touch $@

$(CNITOOL): scripts/build-cnitool scripts/debian-source
	@scripts/need test
	@echo "building cnitool…"
	@scripts/build-cnitool $@

$(PEERS): scripts/build-peers scripts/debian-source $(wildcard conformance/peers/go/*/*.go)
	@scripts/need test
	@echo "building the Go plugins' own tests…"
	@scripts/build-peers $(@D)
	@touch $@

$(ETCD): scripts/unpack-etcd
	@echo "unpacking Debian's etcd…"
	@scripts/unpack-etcd $(@D)

# A system older than the build's, on which the release is tried.
build/debian/bullseye:
	@scripts/on-debian bullseye

# podman as it is today, which has no CNI, and calls netavark.
$(PODMAN):
	@scripts/on-debian trixie sh -c 'apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y \
		--no-install-recommends podman podman-compose netavark crun && rm -rf /var/cache/apt/archives /var/lib/apt/lists' >build/podman.log 2>&1 || \
		{ cat build/podman.log >&2; exit 1; }

$(VALIDATORS): $(SCHEMAS)
	@$(PYTHON) -m cni_core.schema.generate
	@touch $@

$(BUILT): $(VENV)/build $(VALIDATORS) $(SOURCES)
	@echo "freezing the plugins…"
	@$(VENV)/bin/python -m launcher.prefix build/prefix
	@PYTHONHASHSEED=0 $(VENV)/bin/pyinstaller --noconfirm --log-level WARN --distpath dist/cni --workpath build/pyinstaller build.spec
	@$(PYTHON) -m launcher.build dist/cni
	@touch $@
