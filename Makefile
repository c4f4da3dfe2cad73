# Each target works alone, first, in a fresh clone. Needed: Python 3.11 or newer with its headers, pip, git, make
# and a C++ compiler. Another interpreter: make up PYTHON=python3.12

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := $(BIN)/uv
UV_VERSION := 0.13.9

# Clones and caches often lie on different file systems, where hard links fail one by one, with a warning each.
export UV_LINK_MODE ?= copy
# A wheel built with -march=native dies with SIGILL on another CPU.
export HNSWLIB_NO_NATIVE := 1

INSTALL := $(UV) pip install --quiet --python $(BIN)/python
LOCK    := $(UV) pip compile --quiet --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
           --extra local --extra parquet --extra postgres --extra otel pyproject.toml

# Fake upstreams that others wrote, for tests alone.
UPSTREAMS := .upstreams
AIMOCK    := 1.43.0
LLMOCK    := 0.2.2

# The page's tests: a browser's driver, and rules of accessibility.
UI         := .ui
PLAYWRIGHT := 1.65.2
AXE        := 4.14.1

SECONDS ?= 1800

# Tests with a real Ray, or whose times mean something: nothing else runs beside them. Two at a time starve on two cores.
REAL := tests/e2e tests/chaos

CHAOS_PROCESSES := $(addprefix tests/chaos/test_,kills.py dead_upstream.py live_faults.py)
CHAOS_MONEY     := $(addprefix tests/chaos/test_,money.py money_limits.py money_disk.py)

# People's own clients, each in an environment of its own, with every version pinned.
CLIENTS        := .clients
PYTHON_CLIENTS := $(patsubst tests/clients/requirements/%.txt,%,$(wildcard tests/clients/requirements/*.txt))

.PHONY: up down status install test chaos chaos-money chaos-processes chaos-sockets test-upstreams test-postgres \
	test-redis test-cluster soak test-clients test-ui prove-wire bench bench-peers bench-balance bench-learning bench-ledger \
	bench-scale docs grafana fmt lock clean
.DEFAULT_GOAL := up

up: $(VENV)/.runtime
	@$(BIN)/raygate up

down: $(VENV)/.runtime
	@$(BIN)/raygate down

status: $(VENV)/.runtime
	@$(BIN)/raygate status

install: $(VENV)/.runtime

test: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --numprocesses 2 --dist worksteal $(REAL:%=--ignore=%)
	$(BIN)/pytest $(REAL) --durations 15 || { echo "What failed is run once more, alone: see CONTRIBUTING.md"; \
	  $(BIN)/pytest $(REAL) --last-failed --last-failed-no-failures none; }

# Every fault of an upstream of ours, in every dialect, over real sockets; killed processes, a dead upstream, callers who
# leave in masses; and simulated clusters under thousands of faults. make test runs a short version. At most five minutes
# on a machine that does nothing else: what is timed here fails on a busy one.
chaos: $(VENV)/.dev
	@$(MAKE) --silent --no-print-directory --jobs 2 --output-sync=target chaos-processes chaos-sockets

chaos-processes: $(VENV)/.dev
	RAYGATE_CHAOS=full timeout --signal=INT --kill-after=30 290 $(BIN)/pytest $(CHAOS_PROCESSES)

# Processes of every kind are killed in 20 rounds while money is spent, and the rows held against what a metering upstream
# served; budgets over four replicas, disks that are full. About eight minutes.
chaos-money: $(VENV)/.dev
	RAYGATE_CHAOS=full timeout --signal=INT --kill-after=30 590 $(BIN)/pytest -s $(CHAOS_MONEY)

chaos-sockets: $(VENV)/.dev
	RAYGATE_CHAOS=full timeout --signal=INT --kill-after=30 290 nice -n 15 $(BIN)/pytest tests/chaos tests/simulation $(CHAOS_PROCESSES:%=--ignore=%) \
	  $(CHAOS_MONEY:%=--ignore=%)
	@timeout 60 $(BIN)/python -m tests.chaos.table

# Asks independent fake upstreams, over real sockets. Needed beside the rest: Node 20 or newer with npm.
test-upstreams: $(VENV)/.dev $(UPSTREAMS)/.aimock-$(AIMOCK) $(UPSTREAMS)/.llmock-$(LLMOCK)
	RAYGATE_TEST_UPSTREAMS=1 $(BIN)/pytest tests/upstreams

# Where the microseconds of a request go: prints the tables, renews docs/performance.md, keeps JSON in bench/results. Its
# parts (micro), itself (edge), then over sockets beside a bare pass-through (wire).
bench: $(VENV)/.dev
	@mkdir -p bench/results
	@$(BIN)/pytest bench/micro.py --benchmark-enable --benchmark-only --benchmark-json bench/results/micro.json \
	  --benchmark-columns min,median,ops --benchmark-sort name --benchmark-timer time.process_time
	@$(BIN)/python -m bench.edge --rounds 40 --json bench/results/edge.json --page docs/performance.md
	@$(BIN)/python -m bench.wire --json bench/results/wire.json --page docs/performance.md

# Beside other gateways: the harness in shared/bench, which RAYGATE_SHARED may name. ARGS="nginx litellm-1 --seconds 2", or
# side by side and by turns: ARGS="--by-turns raygate portkey"
bench-peers: $(VENV)/.dev
	@$(BIN)/python -m bench.peers $(ARGS)

# The ledger's tests on a Postgres of their own, which is installed where there is none (Debian, as root) and ends with
# them. On a server of yours: RAYGATE_TEST_POSTGRES=postgresql://… make test
test-postgres: $(VENV)/.dev
	@tests/ledger/postgres.sh $(BIN)/pytest tests/ledger

# The shared tier's tests on a Redis of their own, which is installed where there is none (Debian, as root) and ends with
# them. On a server of yours, whose keys they delete: RAYGATE_TEST_REDIS=redis://… make test
test-redis: $(VENV)/.dev
	@tests/cache/redis.sh $(BIN)/pytest tests/cache/test_shared.py

# Ray clusters on this machine: several nodes, one of which is killed under load; then hosts with networks, processes and
# disks of their own, which the tests make (Linux, as root; else they are skipped): the head dies, a node is cut off, also
# while a provider is ill or a model server is asked there, a disk is gone, all is redeployed, every actor dies, a second
# cluster takes over. Redis and Postgres are installed where there are none (Debian, as root). Twenty minutes; nothing
# else should run beside it. ARGS="-k head" for one of them.
test-cluster: $(VENV)/.dev
	@tests/ledger/postgres.sh true && tests/cache/redis.sh true
	CLUSTER_TESTS=1 timeout --signal=INT --kill-after=60 2400 $(BIN)/pytest -s tests/cluster/test_nodes.py \
	  tests/cluster/test_hosts.py tests/cluster/test_upgrades.py $(ARGS)

# A mixed load for half an hour, or SECONDS: memory, files, sockets and actors may not grow.
soak: $(VENV)/.dev
	@$(BIN)/python -m tests.cluster.soak --seconds $(SECONDS)

# What one manager and one ledger carry, under a virtual clock: prints the tables and renews docs/scale.md.
bench-scale: $(VENV)/.dev
	@$(BIN)/python -m bench.scale --page docs/scale.md

# Settlements per second into the ledger; with Postgres too where there is one.
bench-ledger: $(VENV)/.dev
	@if command -v pg_ctl >/dev/null || ls /usr/lib/postgresql/*/bin/pg_ctl >/dev/null 2>&1; then \
	  tests/ledger/postgres.sh $(BIN)/python -m bench.ledger; else $(BIN)/python -m bench.ledger; fi

# People's own clients against a Raygate that runs. ONLY=openai: those alone whose name holds that word; ONLY=--actor:
# all of them, over the other data path. Needed beside the rest: Node 20 or newer with npm.
test-clients: $(VENV)/.dev
	@$(MAKE) --silent --no-print-directory --keep-going $(PYTHON_CLIENTS:%=$(CLIENTS)/.%) $(CLIENTS)/.node || true
	@$(BIN)/python -m tests.clients.run $(ONLY)

# The page in a real headless Chromium, over a real Raygate. Installs what it needs: Playwright beside our environment,
# axe-core from npm, and Chromium (Debian's as root, else Playwright's own). Screenshots are kept in .ui/shots.
test-ui: $(VENV)/.dev $(UI)/.playwright-$(PLAYWRIGHT) $(UI)/.axe-$(AXE) $(UI)/.chromium
	RAYGATE_TEST_UI=1 $(BIN)/pytest -s tests/ui

# The proof on recorded traffic of the real APIs, as tables. RAYGATE_SHARED names the folder that holds wire/dev.
prove-wire: $(VENV)/.dev
	@$(BIN)/python -m tests.wire.report

# Simulates the strategies (minutes of both cores), prints the table and renews docs/balance.md with its plots.
bench-balance: $(VENV)/.dev
	@$(BIN)/python -m bench.balance

# Plays recorded outcomes of real models to the learner and to known methods (half an hour of both cores), prints the
# tables and renews docs/learning.md. RAYGATE_SHARED names the folder that holds routing/dev_*.parquet.
bench-learning: $(VENV)/.dev
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m bench.learning $(ONLY)

# Renews the pages that are made from code.
docs: $(VENV)/.dev
	@$(BIN)/python -m runtime.settings.reference docs/configuration.md
	@$(BIN)/python -m runtime.metrics.page docs/operations.md
	@$(BIN)/python -m serve.api_page docs/api.md

# Renews the dashboard and the alert rules in deploy/grafana.
grafana: $(VENV)/.dev
	@$(BIN)/python -m deploy.grafana.build

fmt: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Remakes both lock files from pyproject.toml. Versions that are locked stay: make lock UPGRADE=--upgrade moves them.
lock: $(UV)
	$(LOCK) $(UPGRADE) --output-file requirements.lock
	$(LOCK) $(UPGRADE) --extra dev --output-file requirements-dev.lock

clean:
	rm -rf $(VENV) $(UPSTREAMS) $(CLIENTS) $(UI) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# What is installed is stamped: the second call finds nothing to do. The development environment holds all that the
# other one does, so it counts for both.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(UV)
	@echo "Installing Raygate (a few minutes the first time) ..." >&2
	@$(INSTALL) --require-hashes -r requirements.lock
	@deploy/build_fast $(BIN)
	@$(INSTALL) --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(UV)
	@echo "Installing Raygate and its development tools (a few minutes the first time) ..." >&2
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@deploy/build_fast $(BIN)
	@$(INSTALL) --no-deps -e .
	@touch $@ $(VENV)/.runtime

$(UPSTREAMS)/.aimock-$(AIMOCK):
	@command -v npm >/dev/null || { \
	  echo "There is no npm here; install Node 20 or newer, or run make test, which needs none" >&2; exit 1; }
	@echo "Installing aimock $(AIMOCK) ..." >&2
	@npm install --prefix $(UPSTREAMS) --no-save --ignore-scripts --no-audit --no-fund --silent \
	  @copilotkit/aimock@$(AIMOCK)
	@touch $@

$(UPSTREAMS)/.llmock-$(LLMOCK): | $(UV)
	@echo "Installing llmock $(LLMOCK) ..." >&2
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) $(UPSTREAMS)/venv
	@$(UV) pip install --quiet --python $(UPSTREAMS)/venv/bin/python llmock==$(LLMOCK)
	@touch $@

$(CLIENTS)/.node: tests/clients/node/package.json tests/clients/node/package-lock.json
	@command -v npm >/dev/null || { echo "There is no npm here; install Node 20 or newer" >&2; exit 1; }
	@echo "Installing clients for Node ..." >&2
	@mkdir -p $(CLIENTS)/node
	@cp $^ $(CLIENTS)/node
	@npm ci --prefix $(CLIENTS)/node --ignore-scripts --no-audit --no-fund --silent
	@touch $@

$(CLIENTS)/.%: tests/clients/requirements/%.txt | $(UV)
	@echo "Installing $* ..." >&2
	@$(UV) venv --quiet --clear --python $(PYTHON) $(CLIENTS)/$*
	@$(UV) pip install --quiet --python $(CLIENTS)/$*/bin/python -r $<
	@touch $@

$(UI)/.playwright-$(PLAYWRIGHT): | $(UV)
	@echo "Installing Playwright $(PLAYWRIGHT) ..." >&2
	@mkdir -p $(UI) && $(INSTALL) --target $(UI)/python playwright==$(PLAYWRIGHT)
	@touch $@

$(UI)/.axe-$(AXE):
	@command -v npm >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends npm >/dev/null; } || { \
	  echo "There is no npm here; install Node 20 or newer" >&2; exit 1; }
	@echo "Fetching axe-core $(AXE) ..." >&2
	@mkdir -p $(UI) && cd $(UI) && npm pack --silent axe-core@$(AXE) >/dev/null
	@tar -xzOf $(UI)/axe-core-$(AXE).tgz package/axe.min.js > $(UI)/axe.min.js
	@touch $@

$(UI)/.chromium: | $(UI)/.playwright-$(PLAYWRIGHT)
	@command -v chromium >/dev/null || { echo "Installing Chromium ..." >&2; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	  else PYTHONPATH=$(UI)/python $(BIN)/python -m playwright install chromium-headless-shell; fi; }
	@touch $@

$(UV):
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "There is no $(PYTHON) here; install Python 3.11 or newer, or say PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Raygate needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) -V 2>&1); say PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make environments; install its venv package (Debian: python3-venv)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import os, sys, sysconfig; \
	  sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || { \
	  echo "$(PYTHON) has no headers; install its dev package (Debian: python3-dev)" >&2; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || { \
	  echo "There is no C++ compiler here; install one (Debian: g++)" >&2; exit 1; }
	@"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check uv==$(UV_VERSION)
