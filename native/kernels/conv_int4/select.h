// Which level unpacks: the one with the name of the int8 level whose tiles run.
#pragma once

#include "conv_int8/level.h"
#include "conv_int4/level.h"

namespace subbyte::conv_int4 {

// The level for an int8 level: its own, or portable where it has none.
const Level *level_for(const conv_int8::Level &tiles);

}  // namespace subbyte::conv_int4
