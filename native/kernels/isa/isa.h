// The instruction sets of this build, and the one that this process runs.
#pragma once

#include <cstddef>

#include "isa/sets.h"

namespace subbyte::isa {

struct Set {
  const char *name;
  bool (*supported)();  // by this CPU
};

#define SUBBYTE_ISA_COUNT(constant, name, supported) +1
constexpr size_t kCount = SUBBYTE_ISA_SETS(SUBBYTE_ISA_COUNT);
#undef SUBBYTE_ISA_COUNT

extern const Set kSets[kCount];  // the slowest first

// The best set that this CPU has, or the one called `name`; nullptr, with last_error() set, where
// `name` is unknown or the CPU lacks it. An empty name or nullptr asks for the best.
const Set *select(const char *name);

// select(getenv("SUBBYTE_ISA")), asked once.
const Set *active();

}  // namespace subbyte::isa
