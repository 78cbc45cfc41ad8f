// The levels of the last stage.
#pragma once

#include "finish/level.h"
#include "isa/levels.h"

namespace subbyte::finish {

constexpr isa::Levels<Level> kLevels = {{SUBBYTE_ISA_SETS(SUBBYTE_ISA_LEVEL)}};

}  // namespace subbyte::finish
