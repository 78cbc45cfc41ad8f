#include "gemv/select.h"

#include <cstring>

#include "conv_lut16/select.h"

namespace subbyte::gemv {

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

const Level *active_level() {
  const conv_lut16::Level *active = conv_lut16::active_level();
  if (active == nullptr) return nullptr;
  for (const Level *level : kLevels) {
    if (std::strcmp(level->name, active->name) == 0) return level;
  }
  return &kPortable;
}

}  // namespace subbyte::gemv
