// Sizes and offsets that follow from a layer and a level.
#pragma once

#include "checks.h"
#include "finish/level.h"
#include "gemv/level.h"
#include "isa/levels.h"
#include "subbyte/gemv.h"

namespace subbyte::gemv {

constexpr isa::Levels<Level> kLevels = {{SUBBYTE_ISA_SETS(SUBBYTE_ISA_LEVEL)}};

struct Plan {
  static const isa::Levels<Level> &isa_levels() { return kLevels; }

  const Level *level;
  const conv_lut16::Level *tables;  // builds them
  finish::Run finish;
  int64_t rows, inputs, outputs;
  int bits;                      // of a weight or gain; 0: look-ups without gain
  int64_t units;                 // of kUnit groups or inputs
  int64_t tiles;                 // of kTile outputs
  int64_t lane_bytes;            // of a unit, of kLanes outputs
  Accumulate (*accumulate)(int bits, int rows);
  // Look-ups.
  int64_t words;                 // G
  int word_length, chunks;
  int64_t read;                  // bytes of a row that the build stage reads
  // Offsets into the packed weights.
  size_t codebook, word_start, start, levels, weights, packed_size;
  // Offsets into the scratch buffer, and bytes from row to row. `data` is read by tiles, of
  // `unit_data` bytes a unit; look-ups first copy x to `staging`.
  size_t staging, staging_row, data, data_row, unit_data, scratch_size;

  int64_t unit_bytes() const { return kTileBlocks * lane_bytes; }
  // Where a tile's units begin, and how far from each other its chunks of kChunk units are:
  // [block of kBlock outputs][chunk][tile][unit].
  int64_t unit_at(int64_t tile, int64_t unit) const;
};

using Header = PackedHeader<8>;

// SUBBYTE_OK, or an error with last_error() set.
int make_plan(const subbyte_gemv_lut16 *layer, const Level *level, Plan *plan);
int make_plan(const subbyte_gemv_int4 *layer, const Level *level, Plan *plan);

Header header_of(const subbyte_gemv_lut16 &layer, const Level &level);
Header header_of(const subbyte_gemv_int4 &layer, const Level &level);

int pack(const subbyte_gemv_lut16 &layer, const Plan &plan, const uint8_t *codes,
         const uint8_t *gain_codes, const int8_t *gains, const int8_t *codebook, void *packed);
int pack(const subbyte_gemv_int4 &layer, const Plan &plan, const uint8_t *codes,
         const int8_t *levels, void *packed);

// Fill scratch from x.
void build_tables(const subbyte_gemv_lut16 &layer, const Plan &plan, const void *packed,
                  const uint8_t *x, void *scratch);
void stage_inputs(const Plan &plan, const uint8_t *x, void *scratch);

int run(const Plan &plan, const void *packed, const void *scratch, const subbyte_output *output,
        void *y, int64_t output_begin, int64_t output_end);

}  // namespace subbyte::gemv
