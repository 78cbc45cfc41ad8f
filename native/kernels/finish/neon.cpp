// Sums to y for 64-bit Arm.
#include "finish/level.h"

namespace subbyte::finish {
namespace {

// Compilers vectorise the portable one.
void run(const Job &job) { kPortable.run(job); }

}  // namespace

extern const Level kNeon = {"neon", run};

}  // namespace subbyte::finish
