// Sizes and offsets that follow from a layer and a level.
#pragma once

#include "checks.h"
#include "conv_binary/level.h"
#include "geometry.h"
#include "isa/levels.h"
#include "subbyte/conv_binary.h"

namespace subbyte::conv_binary {

constexpr isa::Levels<Level> kLevels = {{SUBBYTE_ISA_SETS(SUBBYTE_ISA_LEVEL)}};

// Rows of x as visited are held for a band of output rows: as values where every column has
// signs of its own (of bytes: as sizes and signs), otherwise as signs.
struct Plan : Walk {
  static const isa::Levels<Level> &isa_levels() { return kLevels; }

  const Level *level;
  bool own_signs;                    // every column has signs of its own
  bool bytes;                        // signs come from bytes, without residuals as floats
  int order;
  // Of one group of the convolution.
  int64_t taps, channels, outputs;
  int64_t words, steps;              // ceil(channels / kWord), and those of all taps
  int64_t lane_blocks;               // ceil(outputs / Level::lanes)
  int64_t depth;                     // floats of a pixel's values
  int64_t planes;                    // sums of a pixel that are held: one, or one an order
  ptrdiff_t tap_bytes, order_bytes, vector_bytes;  // of signs
  ptrdiff_t pixel_bytes, row_bytes;  // of what is held
  int64_t sums_row;                  // floats: planes of padded_columns
  int64_t band;                      // output rows of a band
  int64_t positions;                 // output positions of a band
  // Offsets into the packed weights, and from group to group.
  size_t weights, weights_step, packed_size;
  // Offsets into the scratch buffer.
  size_t steps_at, taps_at, betas, sums, residual, values, held_sums, scales, counts, held, signs;
  size_t scratch_size;
};

using Header = PackedHeader<6>;

// SUBBYTE_OK, or an error with last_error() set.
int make_plan(const subbyte_conv_binary *layer, const Level *level, Plan *plan);

Header header_of(const subbyte_conv_binary &layer, const Level &level);

int pack(const subbyte_conv_binary &layer, const Plan &plan, const uint8_t *signs, void *packed);

int run(const subbyte_conv_binary &layer, const Plan &plan, const void *packed, const void *x,
        const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end, void *scratch);

}  // namespace subbyte::conv_binary
