# The front door. Each target installs what it needs (scripts/setup), then goes through the CMake presets.
#
#   make        build/release/skerry
#   make run    serve on 127.0.0.1:8080 in development mode, data in ./data
#   make test   everything through ctest, then the unit tests under the sanitizers
#   make lint   format and static checks          make bench   the measurements of docs/performance.md
#   make fuzz   each fuzz target for a minute     make clean   removes build/

LISTEN ?= 127.0.0.1:8080
DATA ?= ./data
ROUNDS ?= 20

.PHONY: all run test lint bench fuzz clean setup

all: setup
	@cmake --preset release $(if $(wildcard build/release/build.ninja),>/dev/null,)
	@cmake --build --preset release --target skerry

run: all
	@build/release/skerry serve --dev --listen $(LISTEN) --data $(DATA)

test:
	@scripts/test

lint:
	@scripts/setup --tests
	@scripts/lint

bench: setup
	@scripts/setup --tests
	@cmake --preset release >/dev/null
	@cmake --build --preset release
	@bench/run

fuzz:
	@scripts/setup --tests
	@cmake --preset fuzz >/dev/null
	@cmake --build --preset fuzz
	@cd build/fuzz && ctest -L fuzz --output-on-failure

setup:
	@scripts/setup

clean:
	@rm -rf build
