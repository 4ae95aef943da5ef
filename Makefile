# make install   hyperconv, editable, in a virtual environment .venv, with all that the tests need
# make test      install, then every test, one process on each core
# make demo      install, then train on example photos and write pictures to demo/
# make bench     install, then the benchmarks
# make clean     remove what was built, .venv excepted

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --constraint constraints.txt
SOURCES := $(wildcard csrc/*.cpp csrc/*/*)

.PHONY: install test demo bench clean

install: .venv/installed

# What the editable build needs in place: it runs without build isolation, against the torch it will be used with.
.venv/build-tools: constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) torch setuptools ninja pybind11
	touch $@

.venv/installed: .venv/build-tools pyproject.toml setup.py $(SOURCES)
	$(PIP) --no-build-isolation --editable '.[test]'
	touch $@

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses auto --dist loadfile tests

demo: install
	$(BIN)/hyperconv demo --out demo

bench: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q benchmarks

clean:
	rm -rf build dist *.egg-info hyperconv/_native .venv/installed
	rm -rf .pytest_cache .hypothesis .benchmarks .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
