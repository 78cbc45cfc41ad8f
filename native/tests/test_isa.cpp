// Instruction sets by name, and the rule by which a kernel's level is chosen.
#include <cstdlib>
#include <cstring>

#include "check.h"
#include "conv_binary/plan.h"
#include "conv_int4/plan.h"
#include "conv_int8/plan.h"
#include "conv_lut16/plan.h"
#include "conv_lut256/plan.h"
#include "elementwise/run.h"
#include "finish/levels.h"
#include "gemv/plan.h"
#include "subbyte/subbyte.h"

namespace {

namespace isa = subbyte::isa;

bool error_says(const char *text) { return std::strstr(subbyte_error(), text) != nullptr; }

TEST(sets_by_name) {
  for (const isa::Set &set : isa::kSets) {
    CHECK(isa::select(set.name) == (set.supported() ? &set : nullptr));
  }
  CHECK(isa::select("") != nullptr);
  CHECK(isa::select(nullptr) == isa::select(""));
  CHECK(isa::select("sse9") == nullptr);
  CHECK(error_says("reference, portable") && error_says("sse9"));
}

TEST(the_environment_forces_the_set) {
  const char *forced = std::getenv("SUBBYTE_ISA");
  if (forced != nullptr) CHECK_EQUAL(std::string(subbyte_isa()), std::string(forced));
  CHECK(isa::select(forced) == isa::active());
}

template <typename Level>
void check_levels(const isa::Levels<Level> &levels) {
  for (size_t i = 0; i < isa::kCount; ++i) {
    CHECK_EQUAL(std::string(levels.all[i]->name), std::string(isa::kSets[i].name));
    const Level *found = levels.at(isa::kSets[i].name);
    CHECK(found->needs == nullptr || found->needs());
    CHECK(isa::select(found->name) != nullptr);
  }
  CHECK(levels.at("sse9") == nullptr);
  CHECK(levels.active() == levels.at(subbyte_isa()));
}

TEST(every_kernel_has_a_level_of_every_set) {
  check_levels(subbyte::conv_binary::kLevels);
  check_levels(subbyte::conv_int4::kLevels);
  check_levels(subbyte::conv_int8::kLevels);
  check_levels(subbyte::conv_lut16::kLevels);
  check_levels(subbyte::conv_lut256::kLevels);
  check_levels(subbyte::elementwise::kLevels);
  check_levels(subbyte::finish::kLevels);
  check_levels(subbyte::gemv::kLevels);
}

struct Fake {
  const char *name;
  bool (*needs)();
};

TEST(a_level_that_the_cpu_lacks_gives_way_to_the_next_below) {
  Fake fakes[isa::kCount];
  isa::Levels<Fake> levels;
  for (size_t i = 0; i < isa::kCount; ++i) {
    fakes[i] = {isa::kSets[i].name, nullptr};
    levels.all[i] = &fakes[i];
  }
  CHECK(levels.at("portable") == &fakes[1]);
  fakes[1].needs = [] { return false; };
  CHECK(levels.at("portable") == &fakes[0]);
  CHECK(levels.at("reference") == &fakes[0]);
  fakes[1].needs = [] { return true; };
  CHECK(levels.at("portable") == &fakes[1]);
}

}  // namespace

int main(int argc, char **argv) { return check::main(argc, argv); }
