#include "isa/isa.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "error.h"
#include "subbyte/subbyte.h"

namespace subbyte::isa {

#define SUBBYTE_ISA_SET(constant, name, supported) {name, [] { return supported; }},
const Set kSets[kCount] = {SUBBYTE_ISA_SETS(SUBBYTE_ISA_SET)};
#undef SUBBYTE_ISA_SET

namespace {

// "reference, portable, ...": the sets that run here.
void list_supported(char *text, size_t size) {
  size_t used = 0;
  for (const Set &set : kSets) {
    if (!set.supported() || used >= size) continue;
    const int written =
        std::snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", set.name);
    used += static_cast<size_t>(written);
  }
}

}  // namespace

const Set *select(const char *name) {
  const bool any = name == nullptr || *name == '\0';
  for (size_t i = kCount; i-- > 0;) {
    const Set &set = kSets[i];
    if (set.supported() && (any || std::strcmp(name, set.name) == 0)) return &set;
  }
  char known[128];
  list_supported(known, sizeof known);
  fail(SUBBYTE_BAD_ISA, "SUBBYTE_ISA: expected one of %s (what this CPU and build have), got %.40s",
       known, name);
  return nullptr;
}

const Set *active() {
  static const Set *const set = select(std::getenv("SUBBYTE_ISA"));
  // The message belongs to the thread that asked first: say it to this one too.
  if (set == nullptr) select(std::getenv("SUBBYTE_ISA"));
  return set;
}

}  // namespace subbyte::isa
