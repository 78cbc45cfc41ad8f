#include "conv_int4/select.h"

#include <cstring>

namespace subbyte::conv_int4 {

const Level *level_for(const conv_int8::Level &tiles) {
  static const Level *const kAll[] = {
      &kReference,
#if defined(SUBBYTE_X86)
      &kAvx2,
      &kAvx512,
#elif defined(SUBBYTE_ARM64)
      &kNeon,
#endif
  };
  for (const Level *level : kAll) {
    if (std::strcmp(level->name, tiles.name) == 0) return level;
  }
  return &kPortable;
}

}  // namespace subbyte::conv_int4
