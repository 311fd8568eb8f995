# Every task of the project. CI and pre-commit call these targets and nothing else.

PYTHON   ?= python3
DURATION ?= 60
WORKERS  ?= 4
ARGS     ?=

PY       := .venv/bin/python
INSTALL  := $(PY) -m pip install --quiet --disable-pip-version-check --no-compile --no-build-isolation
LOCKED   := $(INSTALL) --require-hashes
JARS     := .services/kafka/libs
PEERS    := .services/peers

# With the JIT off, 64-bit hashes wrap in NumPy's own arithmetic, which warns about what is meant.
JIT_OFF  := NUMBA_DISABLE_JIT=1 $(PY) -m coverage run -m pytest \
  -W "ignore:overflow encountered:RuntimeWarning" -m kernels --quiet
# What the JIT-off tests cover of engine/kernels, in per cent: raise it, never lower it.
KERNEL_COVERAGE := 98

# $(call need,COMMAND,DEBIAN PACKAGE[,WHY]): one line and exit 69 where a command is missing.
need = command -v $(1) >/dev/null || { echo "$(1) is not on PATH, and $(or $(3),the tests run a real Kafka): install it (Debian: apt-get install -y $(2))" >&2; exit 69; }

# Every engine that a test starts would compile all modules anew: three times the CPU of a start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo run services check compiled kernels test faults detection soak spark-test bench bench-check bench-peers audit lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/dev.stamp ## Make .venv with the locked packages of the engine, its demo and its tests

demo: .venv/run.stamp ## Catch bots with nothing installed but Python: embedded services, DURATION=60 seconds
	@$(PY) -m engine deploy=embedded deploy.duration_s=$(DURATION) $(ARGS)

run: .venv/run.stamp ## Run the engine with overrides: make run ARGS="source.topic=bot-logs"
	@$(PY) -m engine $(ARGS)

services: $(JARS)/complete.stamp ## Fetch what the real test services need (Kafka's jars, by Maven)
	@$(call need,java,openjdk-17-jre-headless)

check: setup ## Format, lint, types and layers
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy --strict engine
	$(PY) -m pytest -q tests/test_layers.py

test: ## All checks and all tests, with a real Kafka and a real Valkey
	@$(MAKE) --no-print-directory -j2 --output-sync=target services compiled check kernels
	$(PY) -m pytest -n $(WORKERS) $(ARGS)

compiled: setup ## Compile the kernels, once for all tests
	@echo "compiling the kernels, once for all tests"
	@$(PY) -m engine source=file source.path=/dev/null sink=memory view=none

kernels: setup ## Judge the kernels with the JIT off, for the coverage of their lines
	$(JIT_OFF)
	$(PY) -m coverage report --fail-under=$(KERNEL_COVERAGE)

faults: services setup ## Do every fault of the matrix some times and write docs/faults.md
	$(PY) -m tests.faults.report $(ARGS)

detection: setup ## Measure whom the presets catch and spare, and write docs/detection.md
	$(PY) -m benchmarks.detection

soak: services setup ## The tests that take minutes or gigabytes, and a million broken records
	$(PY) -m pytest -m soak $(ARGS)

spark-test: .venv/spark.stamp services ## The runner on Spark: its tests, with a real Kafka, Valkey and cluster (fetches 500 MB)
	$(PY) -m pytest -m spark tests/spark $(ARGS)

bench: .venv/bench.stamp services ## Measure on this machine: make bench ARGS="..."
	$(PY) -m benchmarks $(ARGS)

bench-check: setup services ## Compare the engine's speed with the one that was kept, as a ratio to a fixed loop
	$(PY) -m benchmarks.bench_check

bench-peers: .venv/bench.stamp services $(PEERS)/venv/complete.stamp $(PEERS)/jars.stamp ## Measure beside Flink, Spark and a plain loop (fetches 600 MB)
	@$(call need,java,openjdk-17-jre-headless,Flink and Spark run on it)
	$(PY) -m benchmarks --only peers --runs 3 $(ARGS)

audit: .venv/audit.stamp ## Look for known vulnerabilities in what is locked (asks the package index)
	for lock in requirements/*.txt; do $(PY) -m pip_audit --disable-pip --strict -r $$lock || exit 1; done

lock: setup ## Renew the locks in requirements/: make lock ARGS=--upgrade
	$(COMPILE) -o requirements/build.txt requirements/build.in
	$(COMPILE) -c requirements/build.txt --extra demo -o requirements/run.txt pyproject.toml requirements/run.in
	$(COMPILE) -c requirements/build.txt -c requirements/run.txt --extra demo --extra dev -o requirements/dev.txt pyproject.toml requirements/run.in
	$(COMPILE) -c requirements/build.txt -c requirements/dev.txt --extra bench -o requirements/bench.txt pyproject.toml requirements/run.in
	$(COMPILE) -c requirements/build.txt -c requirements/dev.txt --extra audit -o requirements/audit.txt pyproject.toml
	$(COMPILE) -c requirements/build.txt -c requirements/dev.txt --extra spark -o requirements/spark.txt pyproject.toml requirements/run.in
	$(COMPILE) -c requirements/build.txt -c requirements/run.txt -o benchmarks/peers/requirements.txt benchmarks/peers/requirements.in

clean: ## Remove .venv, the services' jars and every cache
	rm -rf .venv .services build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -prune -exec rm -rf {} +

# pip-compile pins every package with the hashes of all its files, so one lock serves each Python.
COMPILE = CUSTOM_COMPILE_COMMAND="make lock" $(PY) -m piptools compile --quiet --generate-hashes \
  --allow-unsafe --strip-extras --no-emit-options $(ARGS)

# pip goes first: what is installed after it, also what must be built, is built by locked tools only.
.venv/run.stamp: requirements/build.txt requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is not Python 3.11 or newer: name one that is (make PYTHON=python3.12 ...)" >&2; exit 69; }
	$(PYTHON) -m venv .venv
	$(LOCKED) -r requirements/build.txt
	$(LOCKED) -r requirements/run.txt
	$(INSTALL) --no-deps --editable .
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements/dev.txt
	$(LOCKED) -r requirements/dev.txt
	@touch $@

.venv/audit.stamp: .venv/dev.stamp requirements/audit.txt
	$(LOCKED) -r requirements/audit.txt
	@touch $@

.venv/bench.stamp: .venv/dev.stamp requirements/bench.txt
	$(LOCKED) -r requirements/bench.txt
	@touch $@

.venv/spark.stamp: .venv/dev.stamp requirements/spark.txt
	$(LOCKED) -r requirements/spark.txt
	@touch $@

$(JARS)/complete.stamp: tests/services/pom.xml
	@$(call need,java,openjdk-17-jre-headless)
	@$(call need,mvn,maven)
	rm -rf $(JARS)
	MAVEN_OPTS=-Djansi.noreset=true mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory=$(abspath $(JARS))
	@touch $@

# The peers have an environment of their own: nothing of theirs is a dependency of the engine.
$(PEERS)/venv/complete.stamp: requirements/build.txt benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)/venv
	$(subst $(PY),$(PEERS)/venv/bin/python,$(LOCKED)) -r requirements/build.txt
	$(subst $(PY),$(PEERS)/venv/bin/python,$(LOCKED)) -r benchmarks/peers/requirements.txt
	@touch $@

$(PEERS)/jars.stamp: $(wildcard benchmarks/peers/*/pom.xml benchmarks/peers/flink/src/main/java/botsieve/*.java)
	@$(call need,javac,openjdk-17-jdk-headless,the Flink job is compiled)
	@$(call need,mvn,maven,it fetches Flink and Spark's connector)
	rm -rf $(PEERS)/flink $(PEERS)/spark
	MAVEN_OPTS=-Djansi.noreset=true mvn -q -B -f benchmarks/peers/spark package
	MAVEN_OPTS=-Djansi.noreset=true mvn -q -B -f benchmarks/peers/flink package
	@touch $@
