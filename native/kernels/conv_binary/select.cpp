#include "conv_binary/select.h"

#include <cstring>

#include "conv_lut16/select.h"

namespace subbyte::conv_binary {

const Level *const kLevels[] = {
    &kReference,
    &kPortable,
#if defined(SUBBYTE_X86)
    &kAvx2,
    &kAvx512,
#elif defined(SUBBYTE_ARM64)
    &kNeon,
#endif
};
const size_t kLevelCount = sizeof kLevels / sizeof *kLevels;

const Level *level_for(const char *name) {
  const Level *best = &kReference;
  for (const Level *level : kLevels) {
    if (level->supported()) best = level;
    if (std::strcmp(level->name, name) == 0) break;
  }
  return best;
}

const Level *active_level() {
  const conv_lut16::Level *active = conv_lut16::active_level();
  return active == nullptr ? nullptr : level_for(active->name);
}

}  // namespace subbyte::conv_binary
