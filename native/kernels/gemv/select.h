// Which level runs: the one with the name of the look-up kernels' level.
#pragma once

#include <cstddef>

#include "gemv/level.h"

namespace subbyte::gemv {

// Every level of this build, the slowest first; the look-up kernels have the same.
extern const Level *const kLevels[];
extern const size_t kLevelCount;

// nullptr, with last_error() set, where SUBBYTE_ISA cannot be met.
const Level *active_level();

}  // namespace subbyte::gemv
