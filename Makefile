# Builds Plank with PGXS. `make` builds, `make install` installs, `make test` and `make demo` do everything from an
# empty machine on, `make help` lists the rest. The version stands in plank.control and nowhere else.

EXTENSION = plank
PLANK_VERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" plank.control)
MODULE_big = plank

SOURCES := $(sort $(wildcard src/*.cpp src/*/*.cpp))
ASSETS := build/generated/assets.cpp
OBJS := $(SOURCES:.cpp=.o) $(ASSETS:.cpp=.o)

# The install script is sql/plank.sql; upgrade scripts have two versions in their names.
SCRIPT := $(if $(wildcard sql/plank.sql),sql/plank--$(PLANK_VERSION).sql)
DATA := $(wildcard sql/plank--*--*.sql)
DATA_built := $(SCRIPT)

PKG_CONFIG ?= pkg-config
LIBRARIES := libwebsockets libuv jansson openssl
# PostgreSQL 15 leaves PGDLLEXPORT empty, for it expects default visibility.
PG_CPPFLAGS = -Isrc -DPLANK_VERSION='"$(PLANK_VERSION)"' -DPGDLLEXPORT='__attribute__((visibility("default")))' \
	$(shell $(PKG_CONFIG) --cflags $(LIBRARIES) 2>/dev/null)
PG_CXXFLAGS = -std=c++20 -O2 -g -Wall -Wextra -Wshadow -Werror -fvisibility=hidden -fvisibility-inlines-hidden \
	-fno-gnu-unique -MMD -MP
# The version script hides what -fvisibility cannot: weak template instances of the standard library.
SHLIB_LINK = -Wl,--version-script=src/plank.map -Wl,--as-needed \
	$(shell $(PKG_CONFIG) --libs $(LIBRARIES) 2>/dev/null) -lstdc++
EXTRA_CLEAN = build client/dist sql/plank--$(PLANK_VERSION).sql $(OBJS:.o=.d)

override with_llvm = no
PG_CONFIG := $(or $(PG_CONFIG),$(shell scripts/pg-config))
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

ifneq ($(wildcard $(PGXS)),)
include $(PGXS)
# Warnings are errors, but only Plank's own: PostgreSQL's headers become system headers.
override CPPFLAGS := $(patsubst -I/%,-isystem /%,$(CPPFLAGS))
else
all install:
	@echo "PostgreSQL's build files are missing: run 'make deps', or set PG_CONFIG=/path/to/pg_config." >&2; exit 1
clean:
	rm -rf $(OBJS) $(EXTRA_CLEAN)
endif
.DEFAULT_GOAL := all

# The private PostgreSQL is below build/, or below /tmp when the server's user cannot read this folder.
clean: clean-private-postgres
.PHONY: clean-private-postgres
clean-private-postgres:
	@if [ -f build/private-postgres.path ]; then rm -rf "$$(cat build/private-postgres.path)"; fi

-include $(OBJS:.o=.d)
$(OBJS): Makefile plank.control
$(shlib): src/plank.map

sql/plank--$(PLANK_VERSION).sql: sql/plank.sql plank.control
	cp $< $@

# The browser client and the live page, built by npm and carried inside the library.
CLIENT_DIST := client/dist/plank.js client/dist/index.html client/dist/index.csp
CLIENT_SOURCES := $(shell find client -path client/node_modules -prune -o -path client/dist -prune -o -path client/test -prune \
	-o -type f \( -name '*.ts' -o -name '*.mjs' -o -name '*.js' -o -name '*.html' -o -name '*.css' -o -name 'tsconfig*.json' \) \
	-print 2>/dev/null)

client/node_modules/.package-lock.json: client/package.json client/package-lock.json
	cd client && npm ci --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@
$(CLIENT_DIST) &: client/node_modules/.package-lock.json $(CLIENT_SOURCES) plank.control
	cd client && npm run --silent build
	@touch $(CLIENT_DIST)

$(ASSETS): $(CLIENT_DIST) scripts/embed-assets
	@mkdir -p $(@D)
	scripts/embed-assets $(CLIENT_DIST) >$@.part && mv $@.part $@

# Everything below works from a bare machine: each script brings in what it needs first.
.PHONY: help deps test soak lint demo bench format
help:
	@echo 'make            build the extension'
	@echo 'make install    install it into the PostgreSQL of PG_CONFIG (as root)'
	@echo 'make deps       install with apt and npm what building and testing need'
	@echo 'make test       every test suite; SUITES="unit regress" for some'
	@echo 'make soak       the mirror test for MINUTES=60, faults and all'
	@echo 'make demo       a private PostgreSQL with a live example; PORT=8432'
	@echo 'make bench      measure against the gateways a user would otherwise write'
	@echo 'make lint       the quick checks of the source; make format mends its layout'
deps:
	@scripts/deps
test:
	@+scripts/run-tests $(SUITES)
soak:
	@+MINUTES="$(MINUTES)" scripts/with-build test/mirror/soak
lint:
	@scripts/suite/lint
demo:
	@+PORT="$(PORT)" demo/run
bench:
	@+scripts/with-build bench/run $(BENCH_ARGS)
format:
	clang-format -i $(shell git ls-files '*.cpp' '*.hpp')
