# The front door. Each target installs what it needs (scripts/setup), then goes through the CMake presets.
#
#   make        build/release/skerry
#   make install PREFIX=DIR            the program, and the library for services of your own (docs/library.md)
#   make run    serve on 127.0.0.1:8080 in development mode, data in ./data
#   make test   everything through ctest, then the unit tests under the sanitizers
#   make lint   format and static checks          make bench   the measurements of docs/performance.md
#   make fuzz   each fuzz target for 10 s         make clean   removes build/
#   make deb, deb-arm64, deb-armhf     Debian packages, into dist/ (docs/install.md)
#   make arm64, make armhf             build/arm64/skerry, build/armhf/skerry, for 64-bit and 32-bit ARM
#   make test-arm64, make test-armhf   their tests, under qemu-user

LISTEN ?= 127.0.0.1:8080
DATA ?= ./data
ROUNDS ?= 20
PREFIX ?= /usr/local

.PHONY: all install run test lint bench fuzz clean setup arm64 armhf test-arm64 test-armhf deb deb-arm64 deb-armhf

all: setup
	@$(if $(wildcard build/release/skerry),,echo "Building build/release/skerry: a minute or so, once.")
	@scripts/build release skerry

install: setup
	@scripts/build release skerry skerry-net skerry_archive protoc-gen-skerry
	@cmake --install build/release --prefix "$(PREFIX)" >build/install.log || { cat build/install.log >&2; exit 1; }
	@echo "Installed below $(PREFIX)."

run: all
	@build/release/skerry serve --dev --listen $(LISTEN) --data $(DATA)

test:
	@scripts/test

lint:
	@scripts/setup --tests
	@scripts/lint

bench: setup
	@scripts/setup --tests
	@scripts/build release
	@bench/run

fuzz:
	@scripts/setup --tests
	@scripts/build fuzz tests_fuzz
	@cd build/fuzz && ctest -L fuzz --output-on-failure

arm64 armhf:
	@scripts/setup --$@
	@scripts/build $@ skerry

test-arm64 test-armhf: test-%:
	@scripts/test-arm $*

deb:
	@scripts/setup --deb
	@scripts/deb

deb-arm64 deb-armhf: deb-%:
	@scripts/setup --deb --$*
	@scripts/deb $*

setup:
	@scripts/setup

clean:
	@rm -rf build
