# Everything runs in the project's own virtual environment, made on first use.
PYTHON ?= python3
VENV ?= .venv
# Installed before the rest, so that the exact build of torch can be chosen:
# any later range that it satisfies installs nothing more.
TORCH ?= torch==2.13.0
JOBS ?= 2

BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The installed package holds the native library: it is made anew when its sources change.
NATIVE := $(shell find native -name '*.cpp' -o -name '*.h' -o -name '*.h.in' -o -name CMakeLists.txt)

# A word on the next major version of mkdocs would count as a warning.
SITE := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.DEFAULT_GOAL := help
NATIVE_ARM := -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
  '-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;/usr/aarch64-linux-gnu'

.PHONY: help demo test native-test native-test-arm native-example fuzz random check bench docs clean

help: ## Say what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 22

$(READY): pyproject.toml CMakeLists.txt $(NATIVE)
	$(PYTHON) -c 'import sys; sys.exit("subbyte needs Python 3.11 or newer, PYTHON=$(PYTHON) is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

demo: $(READY) ## Train a small net on scikit-learn's digits and compress it at three sizes
	$(BIN)/python -m examples.digits

test: $(READY) ## Run the tests
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(JOBS) --dist worksteal

native-test: $(READY) ## Build and run the C++ tests, with the sanitizers and without
	$(BIN)/cmake -S . -B build/native-sanitize -DSUBBYTE_NATIVE_TESTS=ON -DSUBBYTE_SANITIZE=ON
	$(BIN)/cmake -S . -B build/native -DSUBBYTE_NATIVE_TESTS=ON
	$(BIN)/cmake --build build/native-sanitize --parallel $(JOBS)
	$(BIN)/cmake --build build/native --parallel $(JOBS)
	$(BIN)/ctest --test-dir build/native-sanitize --output-on-failure --parallel $(JOBS)
	$(BIN)/ctest --test-dir build/native --output-on-failure --parallel $(JOBS)

native-test-arm: $(READY) ## The C++ tests for 64-bit Arm (packages g++-aarch64-linux-gnu and qemu-user)
	$(BIN)/cmake -S . -B build/native-arm -DSUBBYTE_NATIVE_TESTS=ON $(NATIVE_ARM)
	$(BIN)/cmake --build build/native-arm --parallel $(JOBS)
	$(BIN)/ctest --test-dir build/native-arm --output-on-failure --parallel $(JOBS)

# Neither ONNX Runtime's wheel nor Debian 12 has its headers; this package does, for phones.
ORT_PACKAGE := com.github.asus4.onnxruntime@0.4.9
ORT_HEADERS := ios-arm64_x86_64-simulator/onnxruntime.framework/Headers
ORT := build/onnxruntime

native-example: $(READY) ## The C++ example, and our declarations against the headers (npm: 150 MB)
	rm -rf $(ORT) && mkdir -p $(ORT)/package
	cd $(ORT) && npm pack --silent $(ORT_PACKAGE) && tar xzf *.tgz && rm *.tgz
	mv "$(ORT)/package/Plugins/iOS~/onnxruntime.xcframework/$(ORT_HEADERS)" $(ORT)/include
	mv $(ORT)/package/Plugins/Linux/x64 $(ORT)/lib && rm -r $(ORT)/package
	ln -s libonnxruntime.so $(ORT)/lib/libonnxruntime.so.1
	$(CXX) -std=c++17 -fsyntax-only -Inative -isystem $(ORT)/include native/ort/interface/api_check.cpp
	ONNXRUNTIME_DIR=$(CURDIR)/$(ORT) $(BIN)/pytest tests/examples/test_native.py

fuzz: $(READY) ## 100,000 mutated models through the native operators, built with the sanitizers
	$(BIN)/cmake -S . -B build/native-sanitize -DSUBBYTE_NATIVE_TESTS=ON -DSUBBYTE_SANITIZE=ON
	$(BIN)/cmake --build build/native-sanitize --parallel $(JOBS) --target subbyte_native one_operator
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	  ASAN_OPTIONS=detect_leaks=0 $(BIN)/python -m tests.native.fuzz \
	  --library build/native-sanitize/native/libsubbyte_native.so \
	  --registrar build/native-sanitize/native/tests/libone_operator.so

random: $(READY) ## 1,000 random networks made from the operator table through subbyte compress
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.random_graphs --count 1000

check: $(READY) ## Lint, format, types, layers, prose, tables up to date, links of the site
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.prose src --headless 0.5 --mean 20 --long 0
	$(BIN)/python -m tools.prose README.md CONTRIBUTING.md docs --headless 0.5 --mean 20 --long 5
	$(BIN)/python -m benchmarks.tables --check
	$(SITE)

bench: $(READY) ## Measure every network of the data folder (long) and the kernels, then make the tables
	$(BIN)/python -m benchmarks.networks
	$(BIN)/python -m benchmarks.packages
	$(BIN)/python -m benchmarks.packages --zoo
	$(BIN)/python -m benchmarks.stock_int8
	$(BIN)/pip install --quiet --editable ".[bench]"
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.native_layers
	$(BIN)/python -m benchmarks.whole_networks
	$(BIN)/python -m benchmarks.threads
	SUBBYTE_ISA=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/python -m benchmarks.whole_networks \
	  --networks ResNet-18 --output benchmarks/results/whole_networks_avx2.json
	$(BIN)/python -m benchmarks.tables

docs: $(READY) ## Make the tables of the docs from the recorded results, and the site in build/site
	$(BIN)/python -m benchmarks.tables
	$(SITE)

clean: ## Remove the virtual environment and everything built
	rm -rf $(VENV) build dist out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
