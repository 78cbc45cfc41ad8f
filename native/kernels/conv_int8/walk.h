// The walk over a layer, band by band of x, for the kernels that run int8 tiles: int8 itself,
// and unpack, which has another way to the weights of a block.
#pragma once

#include "conv_int8/plan.h"
#include "finish/level.h"
#include "tiles.h"

namespace subbyte::conv_int8 {

// Output rows begin to end of one image; `x` is what the kernels read for the first of them.
struct Band {
  int64_t image, begin, end;
  const uint8_t *x;
};

// Outputs of one group: `count` times kLanes of them, as many as a tile has, or the last.
struct Block {
  int64_t group, first;  // first: the block begins with output first * kLanes
  int count;
};

struct Call {
  const subbyte_conv_int8 &layer;
  const Plan &plan;
  const char *packed;
  const uint8_t *x;
  const subbyte_output *output;
  void *y;
  char *scratch;
  finish::Run finish;
  // All tiles of a block over a band.
  void (*run_block)(const Call &, const Band &, const Block &);

  ptrdiff_t *tap_offsets() const {
    return reinterpret_cast<ptrdiff_t *>(scratch + plan.tap_offsets);
  }
  int32_t *acc() const { return reinterpret_cast<int32_t *>(scratch + plan.acc); }
  uint8_t *staging() const { return reinterpret_cast<uint8_t *>(scratch + plan.staging); }
  // Tile::start of a block.
  const int32_t *start(const Block &block) const {
    const size_t group = plan.start + static_cast<size_t>(block.group) * plan.start_step;
    return reinterpret_cast<const int32_t *>(packed + group) + block.first * kLanes;
  }
};

// The last stage of a tile: `count` pixels of a band, from this one on, with their sums
// [pixel][block.count * kLanes].
void finish_tile(const Call &call, const Band &band, const Block &block, const int32_t *sums,
                 int64_t pixel, int count);

// Check the rows and the output, and compute.
int walk(const Call &call, int64_t row_begin, int64_t row_end);

}  // namespace subbyte::conv_int8
