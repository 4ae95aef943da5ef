# make install   hyperconv, editable, in a virtual environment .venv, with all that the tests need
# make test      install, then the tests, one process on each core
# make test-all  the same, and what they do for some cases done for all (every choice of tiles compiled for every GPU)
# make sanitize  the CPU library built with the address and undefined-behaviour sanitizers, and the tests of its kernels
# make demo      install, then train on example photos and write pictures to demo/
# make bench     install, then the benchmarks of the operator: RESULTS=FOLDER keeps tables and plot (build/bench)
# make clean     remove what was built, .venv excepted

PYTHON ?= python3
BIN := .venv/bin
RESULTS ?= build/bench
PIP := $(BIN)/python -m pip install --constraint constraints.txt
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --numprocesses auto --dist loadfile --no-loadscope-reorder
SOURCES := $(wildcard csrc/*.cpp csrc/*.h csrc/*/*)

.PHONY: install test test-all sanitize demo bench clean

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
	$(PYTEST) tests

test-all: install
	$(PYTEST) -m '' tests

# AddressSanitizer has to be loaded before Python; Python itself leaks, and pytest must not find this folder's package.
# -fexpensive-optimizations fuses products and sums, as -O3 does: the bounds on rounding hold for that.
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=undefined
sanitize: install
	HYPERCONV_CUDA=0 HYPERCONV_BUILD_FOLDER=build/sanitized/native CXX="g++ $(SANITIZERS)" CXXFLAGS="-O1 -fexpensive-optimizations" \
	    $(BIN)/python setup.py -q build --build-base build/sanitized --build-lib build/sanitized/lib
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
	    PYTHONPATH=build/sanitized/lib $(PYTEST) -p no:cacheprovider -k "not triton" \
	    tests/ops/test_native_cpu.py tests/ops/test_winograd.py tests/ops/test_thin.py tests/ops/test_columns.py \
	    tests/ops/test_low_precision.py tests/ops/test_tiles.py

demo: install
	$(BIN)/hyperconv demo --out demo

bench: install
	mkdir -p $(RESULTS)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q benchmarks --benchmark-json=$(RESULTS)/operator.json
	$(BIN)/python -m benchmarks.plot $(RESULTS)/operator.json --out $(RESULTS)/operator.svg
	$(BIN)/python -m benchmarks.report $(RESULTS)/operator.json --out $(RESULTS)/operator.md

clean:
	rm -rf build dist *.egg-info hyperconv/_native .venv/installed
	rm -rf .pytest_cache .hypothesis .benchmarks .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
