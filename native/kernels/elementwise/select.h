// Which level runs: the one with the name of the look-up kernels' level.
#pragma once

#include <cstddef>

#include "elementwise/level.h"

namespace subbyte::elementwise {

extern const Level *const kLevels[];
extern const size_t kLevelCount;

// The level for a look-up level's name: its own, or portable where it has none.
const Level *level_for(const char *name);

// nullptr, with last_error() set, where SUBBYTE_ISA cannot be met.
const Level *active_level();

}  // namespace subbyte::elementwise
