// Which level runs: the one with the name of the look-up kernels' level.
#pragma once

#include <cstddef>

#include "int8/level.h"

namespace subbyte::int8 {

extern const Level *const kLevels[];
extern const size_t kLevelCount;

// The level for a look-up level's name: its own, or portable where it has none (neon: its
// instructions gain nothing over what compilers make of the portable loops).
const Level *level_for(const char *name);

// nullptr, with last_error() set, where SUBBYTE_ISA cannot be met.
const Level *active_level();

}  // namespace subbyte::int8
