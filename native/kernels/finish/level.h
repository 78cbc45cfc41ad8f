// The last stage of every kernel with weights, from sums to y, of one level (instruction set).
#pragma once

#include <cstddef>
#include <cstdint>

#include "isa/sets.h"
#include "subbyte/subbyte.h"

namespace subbyte::finish {

constexpr int kMaxChannels = 64;  // of one job

// acc -> y, as subbyte_output says.
struct Job {
  const subbyte_output *output;
  const int32_t *acc;             // [pixel][acc_stride]; kMaxChannels can be read of each
  bool real;                      // acc points to float32
  int64_t acc_stride;
  int pixels, channels;
  int64_t channel;                // the first one: index into scale and bias
  int64_t y_offset, y_stride;     // elements; the residual has the same
  void *y;
};

using Run = void (*)(const Job &);

struct Level {
  const char *name;
  Run run;
  bool (*needs)() = nullptr;  // beyond its instruction set: isa/cpu.h
};

SUBBYTE_ISA_SETS(SUBBYTE_ISA_DECLARE)

}  // namespace subbyte::finish
