// Sizes and offsets that follow from a layer and a level.
#pragma once

#include "conv_int4/level.h"
#include "conv_int8/plan.h"
#include "isa/levels.h"
#include "subbyte/conv_int4.h"

namespace subbyte::conv_int4 {

constexpr isa::Levels<Level> kLevels = {{SUBBYTE_ISA_SETS(SUBBYTE_ISA_LEVEL)}};

// A part of the depth of a block of outputs: whole taps, or some steps of one tap.
struct Panel {
  int64_t tap, taps, step, steps;
};

// On top of the plan of the same layer with int8 weights: `weights` are codes here.
struct Plan : conv_int8::Plan {
  const Level *unpacker;
  int bits;
  // The depth in panels: so many taps and steps each, the last ones may have less.
  int64_t panel_taps, panel_steps, tap_panels, step_panels;
  int64_t share;        // pixels that meet all panels before the next ones do
  // Offset into the packed weights of the levels. Codes are [group][block][panel], a block
  // being as many outputs as a tile has at most; so many bytes are a whole block's.
  size_t levels;
  int64_t block_bytes;
  size_t panel, sums;   // offsets into the scratch buffer

  int64_t panels() const { return tap_panels * step_panels; }
  Panel panel_at(int64_t index) const;
  // Units of kUnit codes of a panel for `blocks` times kLanes outputs.
  int64_t units(const Panel &part, int64_t blocks) const;
};

// SUBBYTE_OK, or an error with last_error() set.
int make_plan(const subbyte_conv_int4 *layer, const conv_int8::Level *level, Plan *plan);

// The same layer with int8 weights.
subbyte_conv_int8 with_int8(const subbyte_conv_int4 &layer);

conv_int8::Header header_of(const subbyte_conv_int4 &layer, const conv_int8::Level &level);

int pack(const subbyte_conv_int4 &layer, const Plan &plan, const uint8_t *codes,
         const int8_t *levels, void *packed);

int run(const subbyte_conv_int4 &layer, const Plan &plan, const void *packed, const uint8_t *x,
        const subbyte_output *output, void *y, int64_t row_begin, int64_t row_end, void *scratch);

}  // namespace subbyte::conv_int4
