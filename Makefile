# make practice   sets everything up and opens the practice incidents
# make check      sets everything up and runs format, lint, types, contracts and tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := assistant agents tests benchmarks recordings
# Three at once on two cores, because tests wait for processes and sockets (measured: 7.5 minutes, with two 10.3).
PYTEST_ARGS ?= -n 3 --dist loadfile

.PHONY: practice check test long lint types contracts tools lock screens clean

practice: $(VENV)/.ready
	$(BIN)/pilothouse practice

check: lint types contracts test

test: $(VENV)/.ready-dev tools
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# What takes too long for every run: more variants of the attacks.
long: $(VENV)/.ready-dev tools
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m long

lint: $(VENV)/.ready-dev
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)

types: $(VENV)/.ready-dev
	$(BIN)/mypy

contracts: $(VENV)/.ready-dev
	$(BIN)/lint-imports

# Programs that integration tests talk to (tests/integration/programs.py finds them). Where one cannot be had, its tests are skipped and say why.
tools:
	@command -v npm >/dev/null && [ ! -d .tools/node_modules/@modelcontextprotocol/sdk ] && \
	  npm install --silent --no-audit --no-fund --prefix .tools kubernetes-mcp-server-linux-amd64@0.0.67 \
	  @modelcontextprotocol/sdk@1.32.2 || true
	@[ -x .tools/gateway/bin/litellm ] || { $(PYTHON) -m venv .tools/gateway && \
	  .tools/gateway/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes \
	  -r constraints-gateway.txt; } || { rm -rf .tools/gateway; echo "no AI gateway: its test is skipped"; }

# --no-deps: the lock is complete, so pip has nothing to resolve. pip compiles the bytecode as it installs; ours is
# compiled here, because an environment may forbid writing it later and then every start would pay.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Pilothouse needs Python 3.11 or newer"'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-deps --require-hashes -r constraints.txt
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q assistant agents
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready constraints-dev.txt
	$(PIP) install --quiet --no-deps --require-hashes -r constraints-dev.txt
	touch $@

# Writes both lock files anew: exact versions, hashes, no index addresses.
lock:
	uv pip compile -q pyproject.toml --group build --universal --python-version 3.11 --upgrade --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links -o constraints.txt
	uv pip compile -q pyproject.toml --group build --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links -c constraints.txt -o constraints-dev.txt
	uv pip compile -q --group pyproject.toml:gateway --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links -o constraints-gateway.txt

# Pictures of every screen from real runs on the practice incidents.
screens: $(VENV)/.ready-dev
	$(BIN)/python -m tests.tui.real_screens docs/screens

clean:
	rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
