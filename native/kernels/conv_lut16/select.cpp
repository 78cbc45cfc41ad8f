#include "conv_lut16/select.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "error.h"

namespace subbyte::conv_lut16 {

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

namespace {

// "reference, portable, ...": the levels that run here.
void list_supported(char *text, size_t size) {
  size_t used = 0;
  for (const Level *level : kLevels) {
    if (!level->supported() || used >= size) continue;
    const int written =
        std::snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", level->name);
    used += static_cast<size_t>(written);
  }
}

}  // namespace

const Level *select_level(const char *name) {
  const bool any = name == nullptr || *name == '\0';
  for (size_t i = kLevelCount; i-- > 0;) {
    const Level *level = kLevels[i];
    if (level->supported() && (any || std::strcmp(name, level->name) == 0)) return level;
  }
  char known[128];
  list_supported(known, sizeof known);
  fail(SUBBYTE_BAD_ISA, "SUBBYTE_ISA: expected one of %s (what this CPU and build have), got %.40s",
       known, name);
  return nullptr;
}

const Level *active_level() {
  static const Level *const level = select_level(std::getenv("SUBBYTE_ISA"));
  // The message belongs to the thread that asked first: say it to this one too.
  if (level == nullptr) select_level(std::getenv("SUBBYTE_ISA"));
  return level;
}

}  // namespace subbyte::conv_lut16
