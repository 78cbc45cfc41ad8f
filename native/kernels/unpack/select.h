// Which level unpacks: the one with the name of the int8 level whose tiles run.
#pragma once

#include "int8/level.h"
#include "unpack/level.h"

namespace subbyte::unpack {

// The level for an int8 level: its own, or portable where it has none.
const Level *level_for(const int8::Level &tiles);

}  // namespace subbyte::unpack
