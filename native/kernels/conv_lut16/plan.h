// Sizes and offsets that follow from a layer and a level.
#pragma once

#include "checks.h"
#include "conv_lut16/level.h"
#include "geometry.h"
#include "isa/levels.h"
#include "subbyte/conv_lut16.h"

namespace subbyte::conv_lut16 {

constexpr isa::Levels<Level> kLevels = {{SUBBYTE_ISA_SETS(SUBBYTE_ISA_LEVEL)}};

struct Plan : Walk {
  static const isa::Levels<Level> &isa_levels() { return kLevels; }

  const Level *level;
  bool gain;
  // Of one group of the convolution.
  int64_t taps, channels, outputs;
  int64_t words, vectors;        // G, and ceil(G / kVectorGroups)
  int64_t lane_blocks;           // ceil(outputs / kLanes)
  int word_length, chunks;
  int64_t read;                  // bytes of a pixel that the build stage reads
  ptrdiff_t pixel_bytes, row_bytes;  // of tables
  int64_t band;                  // output rows whose tables are held at once
  // Offsets into the packed weights, of group 0, and from group to group.
  size_t codebook, codebook_step, start, start_step, sums, sums_step;
  size_t codes, gains, codes_step;
  size_t gain_unit;              // int32, 0 unless kSmallGain
  size_t packed_size;
  // Offsets into the scratch buffer.
  size_t tap_offsets, staging, acc, tables, scratch_size;
};

using Header = PackedHeader<11>;

// SUBBYTE_OK, or an error with last_error() set.
int make_plan(const subbyte_conv_lut16 *layer, const Level *level, Plan *plan);

Header header_of(const subbyte_conv_lut16 &layer, const Level &level);

int pack(const subbyte_conv_lut16 &layer, const Plan &plan, const uint8_t *codes,
         const uint8_t *gain_codes, const int8_t *gains, const int8_t *codebook, void *packed);

int run(const subbyte_conv_lut16 &layer, const Plan &plan, const void *packed, const uint8_t *x,
        const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end, void *scratch);

}  // namespace subbyte::conv_lut16
