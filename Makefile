# The two commands to know: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin

# The tests start hundreds of processes: what they import is compiled once, and not by each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo console test release-check lint types unit soak beanstalkd tmux prometheus chromium \
  nginx databases man docs bench clean

# With the beanstalkd that runs here, if one does; else with the embedded server.
demo: .venv/ready
	$(BIN)/python demo.py

# The web console over a server in memory with lively jobs.
console: .venv/ready
	$(BIN)/python examples/console_demo.py

# The checks run beside the tests. What they print comes in one piece once they have ended, and at
# the end once more if they failed.
test: .venv/ready
	@mkdir -p build
	@{ $(MAKE) --no-print-directory lint types >build/checks.log 2>&1; status=$$?; \
	  cat build/checks.log; exit $$status; } & checks=$$!; \
	$(MAKE) --no-print-directory unit; unit=$$?; \
	wait $$checks || { cat build/checks.log; echo 'make test: lint or types failed' >&2; exit 1; }; \
	exit $$unit

# The distributions, installed on each Python at hand, with all tests: see .ci/release-check.
release-check: .venv/ready beanstalkd tmux prometheus chromium nginx databases
	PYTHONS="$(PYTHONS)" TESTS="$(TESTS)" WORKERS=$(WORKERS) .ci/release-check

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The second one checks the examples of the documents.
types: .venv/ready
	$(BIN)/mypy
	$(BIN)/python -m tests.support.documents build/examples
	$(BIN)/mypy build/examples

# Twice as many at once as there are processors, because most tests wait for a server. They are
# given out one by one, and a process that has none left takes some from another.
WORKERS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

unit: .venv/ready beanstalkd tmux prometheus chromium nginx databases
	$(PYTEST)

# The long tests, SOAK times as long as in make test: make soak SOAK=1000
SOAK ?= 20

soak: .venv/ready beanstalkd databases
	SOAK=$(SOAK) $(PYTEST) -m soak

# The manual page of the command line, out of its parser.
man: .venv/ready
	mkdir -p build
	$(BIN)/beanstalkt man > build/beanstalkt.1

# The site: build/site/index.html
docs: .venv/ready
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -d build/doctrees doc build/site

bench: .venv/ready beanstalkd databases
	$(BIN)/pip install --quiet --editable '.[bench]'
	$(BIN)/python -m benchmarks

# Made again whenever what it installs may have changed.
.venv/ready: pyproject.toml setup.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

# Tests that need one of these are skipped, and say so, where it is missing and may not be
# installed: a real server, a terminal, a Prometheus with its tool, a browser, nginx, and database
# servers. Of the last two only the programs are used: the tests start their own, in temporary
# folders.
install = { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && \
  { $(APT) $(1) || { apt-get update --quiet && $(APT) $(1); }; } >/dev/null; } || \
  echo '$(1) is not installed, and could not be: continuing without it' >&2
APT = DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet

beanstalkd tmux prometheus chromium:
	@command -v $@ >/dev/null || $(call install,$@)

nginx:
	@PATH="$$PATH:/usr/sbin"; command -v nginx >/dev/null || $(call install,nginx-light)

databases:
	@PATH="$$PATH:/usr/sbin"; command -v mariadbd >/dev/null || $(call install,mariadb-server)
	@PATH="$$PATH:$$(echo /usr/lib/postgresql/*/bin)"; command -v initdb >/dev/null || \
	$(call install,postgresql)

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find beanstalkt benchmarks tests -name __pycache__ -prune -exec rm -rf {} +
