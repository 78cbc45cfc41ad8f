// Which level runs: that of the look-up kernels, or the next one below that this CPU has.
#pragma once

#include <cstddef>

#include "conv_binary/level.h"

namespace subbyte::conv_binary {

// Every level of this build, the slowest first.
extern const Level *const kLevels[];
extern const size_t kLevelCount;

// The level for a look-up level's name: the best that is supported and not above it.
const Level *level_for(const char *name);

// nullptr, with last_error() set, where SUBBYTE_ISA cannot be met.
const Level *active_level();

}  // namespace subbyte::conv_binary
