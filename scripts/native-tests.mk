# The programs that test src/core and src/token without a server: GoogleTest plain and under ASan and UBSan, and libFuzzer harnesses.
# Run from the top: make -f scripts/native-tests.mk build/native/plain/unit

CORE := $(sort $(wildcard src/core/*.cpp src/token/*.cpp))
UNIT := $(sort $(wildcard test/unit/*_test.cpp))
HARNESSES := $(sort $(wildcard test/fuzz/*_fuzz.cpp))
VERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" plank.control)
FLAGS := -std=c++20 -g -DPLANK_VERSION='"$(VERSION)"' -Wall -Wextra -Wshadow -Werror -Isrc -Itest/unit -MMD -MP
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

FLAGS_plain := -O1
FLAGS_sanitized := -O1 $(SANITIZE)
FLAGS_fuzz := -O1 $(SANITIZE) -fsanitize=fuzzer-no-link
COMPILER_plain := g++
COMPILER_sanitized := g++
COMPILER_fuzz := clang++

objects = $(patsubst %.cpp,build/native/$(1)/%.o,$(2))

define compile_as
build/native/$(1)/%.o: %.cpp scripts/native-tests.mk
	@mkdir -p $$(@D)
	$(COMPILER_$(1)) $(FLAGS) $(FLAGS_$(1)) -c -o $$@ $$<

endef
$(foreach kind,plain sanitized fuzz,$(eval $(call compile_as,$(kind))))

build/native/plain/unit: $(call objects,plain,$(CORE) $(UNIT))
	g++ $(FLAGS_plain) -o $@ $^ -lgtest_main -lgtest -ljansson -lcrypto -lpthread
build/native/sanitized/unit: $(call objects,sanitized,$(CORE) $(UNIT))
	g++ $(FLAGS_sanitized) -o $@ $^ -lgtest_main -lgtest -ljansson -lcrypto -lpthread

.PHONY: fuzz
fuzz: $(patsubst test/fuzz/%.cpp,build/native/fuzz/%,$(HARNESSES))
build/native/fuzz/%_fuzz: build/native/fuzz/test/fuzz/%_fuzz.o $(call objects,fuzz,$(CORE))
	clang++ $(FLAGS_fuzz) -fsanitize=fuzzer -o $@ $^ -ljansson -lcrypto

# One measurement without a server: bench/micro.
FLAGS_speed := -O2
COMPILER_speed := g++
$(eval $(call compile_as,speed))
build/native/speed/tokens: $(call objects,speed,$(wildcard src/token/*.cpp) src/core/json.cpp bench/micro/tokens.cpp)
	g++ $(FLAGS_speed) -o $@ $^ -ljansson -lcrypto
.PHONY: bench-tokens
bench-tokens: build/native/speed/tokens
	@$<

.SECONDARY:
-include $(shell find build/native -name '*.d' 2>/dev/null)
