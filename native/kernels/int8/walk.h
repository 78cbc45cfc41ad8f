// The walk over a layer, band by band of x, for the kernels that run int8 tiles: int8 itself,
// and unpack, which has another way to the weights of a block.
#pragma once

#include "int8/plan.h"
#include "lookup/level.h"

namespace subbyte::int8 {

// Output rows begin to end of one image; `x` is what the kernels read for the first of them.
struct Band {
  int64_t image, begin, end;
  const uint8_t *x;
};

struct Call {
  const subbyte_int8 &layer;
  const Plan &plan;
  const char *packed;
  const uint8_t *x;
  const subbyte_output *output;
  void *y;
  char *scratch;
  void (*finish)(const lookup::Finish &);
  // All tiles of the outputs from lane_block * kLanes on, as many as a tile has.
  void (*block)(const Call &, const Band &, int64_t group, int64_t lane_block);

  ptrdiff_t *tap_offsets() const {
    return reinterpret_cast<ptrdiff_t *>(scratch + plan.tap_offsets);
  }
  int32_t *acc() const { return reinterpret_cast<int32_t *>(scratch + plan.acc); }
  uint8_t *staging() const { return reinterpret_cast<uint8_t *>(scratch + plan.staging); }
};

// Where the next pixel of a band is read.
struct Cursor {
  const uint8_t *row;
  int64_t column;
};

// The next `count` pixels.
void take_pixels(const Plan &plan, int count, Cursor *cursor, const uint8_t **pixels);

// The last stage for pixels of a band, from this one on, and outputs from `channel` on.
lookup::Finish finish_job(const Call &call, const Band &band, int64_t pixel, int64_t channel);

// Check the rows and the output, and compute.
int walk(const Call &call, int64_t row_begin, int64_t row_end);

}  // namespace subbyte::int8
