# The commands of this project, on top of CMake (see CMakePresets.json for the other builds).
#   make          build the library and the program into build/
#   make demo     install what is missing (Debian, Ubuntu), build, and show two services talking
#   make test     the same for the tests, and run them
#   make install  to PREFIX (/usr/local), below DESTDIR
PREFIX ?= /usr/local
BUILD := build
MAKEFLAGS += --no-print-directory
JOBS := $(shell nproc 2>/dev/null || echo 2)
# Tests mostly wait.
TEST_JOBS := $(shell expr 4 '*' $(JOBS))
ifneq ($(shell command -v ninja 2>/dev/null),)
export CMAKE_GENERATOR ?= Ninja
endif

# CMAKE_ARGS goes to CMake: make CMAKE_ARGS=-DLIGHTBUS_WERROR=ON
configure = cmake --preset release --log-level=WARNING $(CMAKE_ARGS)
build = cmake --build $(BUILD) --parallel $(JOBS)

.PHONY: all demo test bench format install clean

all:
	@command -v cmake >/dev/null || { echo "cmake is missing: run tools/setup" >&2; exit 1; }
	@test -e $(BUILD)/Makefile -o -e $(BUILD)/build.ninja || $(configure) -DLIGHTBUS_TESTS=OFF -DLIGHTBUS_BENCH=OFF || \
	{ echo "The build could not be configured. If something is missing, run tools/setup." >&2; exit 1; }
	@$(build)

demo:
	@tools/setup
	@$(MAKE) all
	@examples/quickstart/demo.sh $(BUILD)

test:
	@tools/setup --tests
	@$(configure) -DLIGHTBUS_TESTS=ON
	@$(build)
	@ctest --test-dir $(BUILD) --output-on-failure --parallel $(TEST_JOBS) $(CTEST_ARGS)

bench:
	@tools/setup --bench
	@$(MAKE) all
	@$(configure) -DLIGHTBUS_BENCH=ON
	@$(build)
	@bench/run $(BUILD) $(BENCH_ARGS)

format:
	@tools/check-format --fix

# Run by root without DESTDIR, it also tells the dynamic linker about the new library.
install: all
	@DESTDIR="$(DESTDIR)" cmake --install $(BUILD) --prefix "$(PREFIX)"
	@test -n "$(DESTDIR)" || test "$$(id -u)" != 0 || ldconfig

clean:
	rm -rf $(BUILD) build-debug build-asan build-tsan build-fuzz build-clang
