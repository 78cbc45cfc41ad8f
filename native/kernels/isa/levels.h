// The levels of a kernel, one for each instruction set, and the rule by which one is chosen.
//
// Included by files that are compiled for every CPU alone: isa/sets.h.in says why.
#pragma once

#include <cstring>

#include "isa/isa.h"

namespace subbyte::isa {

// `Level` begins with the name of its instruction set; `needs`, where not null, asks this CPU for
// what the level needs beyond the set.
template <typename Level>
struct Levels {
  const Level *all[kCount];  // in the order of kSets

  const Level *const *begin() const { return all; }
  const Level *const *end() const { return all + kCount; }

  // The level for the instruction set called `name`: the best one up to it that this CPU can run.
  // nullptr where no set has that name.
  const Level *at(const char *name) const {
    const Level *best = nullptr;
    for (size_t i = 0; i < kCount; ++i) {
      const bool extra = all[i]->needs == nullptr || all[i]->needs();
      if (extra && kSets[i].supported()) best = all[i];
      if (std::strcmp(kSets[i].name, name) == 0) return best;
    }
    return nullptr;
  }

  // The level of this process; nullptr, with last_error() set, where SUBBYTE_ISA cannot be met.
  const Level *active() const {
    const Set *set = isa::active();
    return set == nullptr ? nullptr : at(set->name);
  }
};

}  // namespace subbyte::isa

// What kLevels of a kernel is made of, in its namespace.
#define SUBBYTE_ISA_LEVEL(constant, name, supported) &constant,
