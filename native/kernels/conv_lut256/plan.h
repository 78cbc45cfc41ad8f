// Sizes and offsets that follow from a layer and a level.
#pragma once

#include "checks.h"
#include "conv_lut256/level.h"
#include "geometry.h"
#include "isa/levels.h"
#include "subbyte/conv_lut256.h"

namespace subbyte::conv_lut256 {

constexpr isa::Levels<Level> kLevels = {{SUBBYTE_ISA_SETS(SUBBYTE_ISA_LEVEL)}};

struct Plan : Walk {
  static const isa::Levels<Level> &isa_levels() { return kLevels; }

  const Level *level;
  bool gain;
  int words, word_length, chunks;
  int64_t kernel_width;
  // Of one group of the convolution.
  int64_t taps, channels, outputs;
  int64_t channel_groups, vectors;   // G, and ceil(G / kVectorGroups)
  int64_t steps;                     // of a sum: taps * vectors
  int64_t cells;                     // ceil(outputs / lanes)
  int64_t cell_bytes;
  int64_t read;                      // bytes of a pixel that the build stage reads
  ptrdiff_t table_bytes;             // of one vector
  ptrdiff_t pixel_bytes, row_bytes;  // of tables
  int64_t band;                      // output rows whose tables are held at once
  bool ring;                         // one at a time: row r of the input at place r % reach
  // Offsets into the packed weights, of group 0, and from group to group.
  size_t codebook, codebook_step, start, start_step, sums, sums_step;
  size_t codes, gains, codes_step;
  size_t packed_size;
  // Offsets into the scratch buffer.
  size_t offsets, staging, tables, scratch_size;
};

using Header = PackedHeader<12>;

// A sum goes through the rows of the kernel, the vectors, the taps of the row: neighbouring
// taps and pixels share tables, which are then still in the nearest cache.
int64_t step_of(const Plan &plan, int64_t tap, int64_t vector);

// SUBBYTE_OK, or an error with last_error() set.
int make_plan(const subbyte_conv_lut256 *layer, const Level *level, Plan *plan);

Header header_of(const subbyte_conv_lut256 &layer, const Level &level);

int pack(const subbyte_conv_lut256 &layer, const Plan &plan, const uint8_t *codes,
         const uint8_t *gain_codes, const int8_t *gains, const int8_t *codebook, void *packed);

int run(const subbyte_conv_lut256 &layer, const Plan &plan, const void *packed, const uint8_t *x,
        const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end, void *scratch);

// A GEMM of few rows.
int prepare(const subbyte_conv_lut256 &layer, const Plan &plan, const void *packed,
            const uint8_t *x, void *scratch);
int run_outputs(const subbyte_conv_lut256 &layer, const Plan &plan, const void *packed,
                const void *scratch, const subbyte_output *output, void *y, int64_t output_begin,
                int64_t output_end);

}  // namespace subbyte::conv_lut256
