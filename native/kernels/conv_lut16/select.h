// Which level runs.
#pragma once

#include <cstddef>

#include "conv_lut16/level.h"

namespace subbyte::conv_lut16 {

// Every level of this build, the slowest first.
extern const Level *const kLevels[];
extern const size_t kLevelCount;

// The best level this CPU supports, or the one called `name`; nullptr, with last_error()
// set, where `name` is unknown or not supported. An empty name or nullptr asks for the best.
const Level *select_level(const char *name);

// select_level(getenv("SUBBYTE_ISA")), asked once.
const Level *active_level();

}  // namespace subbyte::conv_lut16
