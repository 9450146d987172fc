# Two commands matter: `make demo` and `make test`. Both make .venv here first, and need only
# Python 3.11 or newer, make, git and a compiler.

.DELETE_ON_ERROR:
.PHONY: help demo docs coverage test test-server test-oldest test-newest check format format-check lint types mutants chaos chaos-full bench \
  bench-short clean distclean

# What another virtual environment or project has set does not belong in this one.
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV PYTHONDONTWRITEBYTECODE
# Without any PATH, Python does not know where it is itself.
export PATH ?= /usr/local/bin:/usr/bin:/bin

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# Release 0.1 as its users have it, which tests play beside this one.
RELEASED := .venv-0.1
RELEASED_STAMP := $(RELEASED)/.installed
# The lowest and the highest versions of what distflow needs; tools are those of .venv.
OLDEST := .venv-oldest
NEWEST := .venv-newest
# What builds the documentation.
DOCS := .venv-docs
# Of faults, in `make chaos`.
MINUTES := 2
# What depends on the server; `make test` runs it on those of PATH and of the wheels.
SERVER_TESTS := tests/contract $(patsubst %,tests/integration/test_%.py, acl cli_refused \
  data_folder durability forgotten full_redis local_server reconciliation redis_refuses)
# What is tested with the lowest and with the highest versions.
TESTS := tests/unit tests/contract tests/integration
# Test files at once: most of their time is waiting for servers and workers. 0 for one by one.
JOBS := 5
# Each in one process, in the order of tests/conftest.py.
APART := --dist loadfile --no-loadscope-reorder

CODE := distflow workers tests deploy $(wildcard examples benchmarks)

help:
	@echo 'make demo    set up, then run the examples while killing their processes'
	@echo 'make test    set up, then run every test'
	@echo 'make test-server SERVER=/path/to/redis-server   run what depends on it on that one alone'
	@echo 'make test-oldest | test-newest   the same with the lowest and highest versions of all it needs'
	@echo 'make check   format check, lint, types and tests: what CI runs, and a minute of chaos'
	@echo 'make chaos   soak for MINUTES=2: kill, freeze and restart everything; SEED=... repeats it'
	@echo 'make chaos-full  also kill the coordinator of a run 20 times over, measure the times that are'
	@echo '             promised, and crash at every step'
	@echo 'make docs    build the documentation into build/docs; a broken link is an error'
	@echo 'make bench   measure it beside its peers: TABLE=throughput alone, ROUNDS=5, JSON=file'
	@echo 'make bench-short  the same of almost nothing: to see that the harness works'
	@echo 'make coverage  what the unit tests reach of the coordinator, and with the contract of all'
	@echo 'make mutants break the policy in every way known, and see the tests fail'
	@echo 'make format | lint | types | clean | distclean'

# Tried in this order.
INTERPRETERS := python3.11 python3
NEW_ENOUGH := sys.exit(sys.version_info < (3, 11))

# An environment that works is kept: one made of two Pythons would not. A python3.11 that is
# the stub of a version manager, or lacks venv, is passed over.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import pip, sys; $(NEW_ENOUGH)' >/dev/null 2>&1 && exit 0; \
	for python in $(INTERPRETERS); do \
	  if $$python -c 'import ensurepip, sys, venv; $(NEW_ENOUGH)' >/dev/null 2>&1; then \
	    $$python -m venv --clear $(VENV); \
	    exit $$?; \
	  fi; \
	done; \
	echo 'distflow needs Python 3.11 or newer with its venv module:' \
	  'install python3.11 (on Debian and Ubuntu python3.11-venv too) and try again' >&2; \
	exit 1
	$(PYTHON) -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[dev]'
	@touch $@

$(RELEASED_STAMP): tests/released/constraints.txt $(wildcard tests/released/*.whl) | $(STAMP)
	$(PYTHON) -m venv --clear $(RELEASED)
	$(RELEASED)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c tests/released/constraints.txt $(wildcard tests/released/*.whl)
	@touch $@

# The lowest versions are from the time of Python 3.11: some have no wheels for newer ones.
$(OLDEST)/.installed: pyproject.toml constraints.txt constraints-oldest.txt | $(STAMP)
	@for python in $(PYTHON) python3.11; do \
	  if $$python -c 'import sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then \
	    $$python -m venv --clear $(OLDEST); \
	    exit $$?; \
	  fi; \
	done; \
	echo 'the lowest versions are tested on Python 3.11: install python3.11 and try again' >&2; \
	exit 1
	$(call other-pins,$(OLDEST)) && cat constraints-oldest.txt >>$(OLDEST)/constraints.txt
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c $(OLDEST)/constraints.txt -e '.[dev]'
	@touch $@

$(NEWEST)/.installed: pyproject.toml constraints.txt constraints-oldest.txt | $(STAMP)
	$(PYTHON) -m venv --clear $(NEWEST)
	$(call other-pins,$(NEWEST))
	$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c $(NEWEST)/constraints.txt -e '.[dev]'
	@touch $@

# The pins of all but what constraints-oldest.txt names, as constraints.txt of the folder $(1).
other-pins = sed 's/^/^/; s/==.*/==/' constraints-oldest.txt | \
  grep --ignore-case --invert-match --file=- constraints.txt >$(1)/constraints.txt

demo: $(STAMP)
	$(PYTHON) -m examples.demo

# Hundreds of processes start in the tests: each is faster where its modules are compiled already.
test: $(STAMP) $(RELEASED_STAMP)
	$(PYTHON) -m compileall -q $(CODE)
	$(PYTHON) -m pytest -n $(JOBS) $(APART)

test-server: $(STAMP)
	DISTFLOW_TEST_REDIS=$(SERVER) $(PYTHON) -m pytest -n $(JOBS) $(APART) $(SERVER_TESTS)

test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest -n $(JOBS) $(APART) $(TESTS)

test-newest: $(NEWEST)/.installed
	$(NEWEST)/bin/python -m pytest -n $(JOBS) $(APART) $(TESTS)

chaos: $(STAMP)
	$(PYTHON) -m tests.chaos.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

chaos-full: chaos
	DISTFLOW_KILLS=20 $(PYTHON) -m pytest tests/chaos
	DISTFLOW_GROWN=400 $(PYTHON) -m pytest tests/unit/test_growing_runs.py tests/integration/test_growing_runs.py
	$(PYTHON) -m tests.chaos.times
	$(PYTHON) -m tests.chaos.points
	$(PYTHON) -m tests.chaos.refusals

$(DOCS)/.installed: pyproject.toml constraints.txt | $(STAMP)
	$(PYTHON) -m venv --clear $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[docs]'
	@touch $@

# zensical calls a broken link, anchor or name an error; griffe, which reads the docstrings, warns.
docs: $(DOCS)/.installed
	@mkdir -p build
	@$(DOCS)/bin/zensical build --strict --clean >build/docs.log 2>&1 && ! grep '^griffe:' build/docs.log \
	  || { cat build/docs.log; exit 1; }
	@echo 'build/docs/index.html'

# Each kind of tests has its data: the second table is of both together.
coverage: $(STAMP)
	@mkdir -p build
	$(PYTHON) -m coverage run --data-file=.coverage.unit -m pytest tests/unit
	$(PYTHON) -m coverage report --data-file=.coverage.unit --include='distflow/coordinator/*' \
	  --fail-under=85
	@$(PYTHON) -m coverage json -q --data-file=.coverage.unit --include='distflow/coordinator/*' \
	  -o build/coverage.json
	@$(PYTHON) -m tests.support.covered build/coverage.json 75
	$(PYTHON) -m coverage run --data-file=.coverage.contract -m pytest tests/contract
	$(PYTHON) -m coverage combine -q --keep --data-file=.coverage .coverage.unit .coverage.contract
	$(PYTHON) -m coverage report --fail-under=85

mutants: $(STAMP)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[mutants]'
	rm -rf mutants
	$(PYTHON) -m mutmut run
	$(PYTHON) -m mutmut export-cicd-stats
	@cat mutants/mutmut-cicd-stats.json
	@$(PYTHON) -m mutmut results | grep survived || true

bench: $(STAMP)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check \
	  -c constraints.txt -e '.[bench]'
	$(PYTHON) -m benchmarks $(TABLE) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  $(if $(JSON),--json $(JSON)) $(if $(MILLION),--million)

bench-short: $(STAMP)
	$(PYTHON) -m benchmarks $(TABLE) --short

# The tests come last, so that their summary is what is read at the end.
check: format-check lint types test

format: $(STAMP)
	$(PYTHON) -m ruff format $(CODE)
	$(PYTHON) -m ruff check --fix $(CODE)

format-check: $(STAMP)
	$(PYTHON) -m ruff format --check $(CODE)

lint: $(STAMP)
	$(PYTHON) -m ruff check $(CODE)

types: $(STAMP)
	$(PYTHON) -m mypy

clean:
	rm -rf build dist mutants .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(CODE) -name __pycache__ -prune \
	  -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(RELEASED) $(OLDEST) $(NEWEST) $(DOCS)
