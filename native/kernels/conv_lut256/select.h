// Which level runs: the one with the name of the look-up kernels' level.
#pragma once

#include <cstddef>

#include "conv_lut256/level.h"

namespace subbyte::conv_lut256 {

// Every level of this build, the slowest first: those of the look-up kernels, and with the
// same instructions.
extern const Level *const kLevels[];
extern const size_t kLevelCount;

// The level with a look-up level's name; nullptr where there is none.
const Level *level_for(const char *name);

// nullptr, with last_error() set, where SUBBYTE_ISA cannot be met.
const Level *active_level();

}  // namespace subbyte::conv_lut256
