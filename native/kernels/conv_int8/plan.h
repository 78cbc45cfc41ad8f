// Sizes and offsets that follow from a layer and a level.
#pragma once

#include "checks.h"
#include "conv_int8/level.h"
#include "geometry.h"
#include "isa/levels.h"
#include "subbyte/conv_int8.h"

namespace subbyte::conv_int8 {

constexpr isa::Levels<Level> kLevels = {{SUBBYTE_ISA_SETS(SUBBYTE_ISA_LEVEL)}};

struct Plan : Walk {
  static const isa::Levels<Level> &isa_levels() { return kLevels; }

  const Level *level;
  // One input and one output channel a group: computed by Level::depthwise.
  bool depthwise;
  // x needs no staging: no padding, and whole steps of channels.
  bool direct;
  // A row of the kernel is one tap: its pixels lie side by side, as if they were channels,
  // so that three channels need not be filled up to whole steps.
  bool merged;
  // Of one group of the convolution.
  int64_t taps, channels, outputs;
  int64_t kernel_width;              // 1 if merged
  int64_t steps;                     // ceil(channels / Level::quad)
  int64_t lane_blocks;               // ceil(outputs / kLanes)
  int64_t chunks;                    // depthwise: ceil(inputs / kChannels)
  // Depthwise: a row of three taps is a step of its own, with a fourth of zeros.
  int64_t step_taps, depthwise_steps;
  int64_t depthwise_step;            // bytes of weights, of all channels
  ptrdiff_t group_bytes;             // of x as the kernels read it
  ptrdiff_t pixel_bytes, row_bytes;  // from one visited pixel (row) to the next
  int64_t band;                      // output rows whose x is held at once
  // Offsets into the packed weights, of group 0, and from group to group.
  size_t start, start_step, weights, weights_step, packed_size;
  // Offsets into the scratch buffer.
  size_t tap_offsets, acc, staging, scratch_size;
};

using Header = PackedHeader<8>;

// SUBBYTE_OK, or an error with last_error() set.
int make_plan(const subbyte_conv_int8 *layer, const Level *level, Plan *plan);

Header header_of(const subbyte_conv_int8 &layer, const Level &level);

int pack(const subbyte_conv_int8 &layer, const Plan &plan, const int8_t *weights, void *packed);

int run(const subbyte_conv_int8 &layer, const Plan &plan, const void *packed, const uint8_t *x,
        const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end, void *scratch);

}  // namespace subbyte::conv_int8
