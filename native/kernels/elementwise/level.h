// What one level (instruction set) of the weightless kernels provides. The loops are the
// same for all but neon (stages.h): a level is made by its compiler flags.
#pragma once

#include <cstddef>
#include <cstdint>

#include "isa/sets.h"

namespace subbyte::elementwise {

constexpr int kChunk = 64;  // channels at a time

// y[i] = quantize(...) of subbyte_pairwise, in rows of `count` values that lie side by side in y.
// A step of 0 repeats one value, a distance of 0 from row to row repeats a row.
struct Rows {
  const uint8_t *x, *r;
  int64_t rows, x_row, r_row;
  int64_t x_step, r_step, count;
  int32_t x_zero, r_zero, y_zero;
  float x_factor, r_factor;  // add; mul: x_factor of the product
  uint8_t *y;
};

// One chunk of channels of `count` windows of one shape: rows x columns pixels of x, at these
// distances; from window to window x and y move on by x_step and y_step.
struct Window {
  const uint8_t *x;
  ptrdiff_t row_stride, column_stride, x_step, y_step;
  int64_t rows, columns, count;
  int channels;              // at most kChunk
  int32_t x_zero, y_zero;    // average
  float factor;
  uint8_t *y;
};

// y[j * groups + g] = x[g * each + j] of `pixels` pixels.
struct Shuffle {
  const uint8_t *x;
  int64_t pixels, groups, each;
  uint8_t *y;
};

struct Level {
  const char *name;
  void (*add)(const Rows &);
  void (*mul)(const Rows &);
  void (*max)(const Window &);
  void (*average)(const Window &);
  // y[i] = table[x[i]], a table of 256 bytes.
  void (*map)(const uint8_t *table, const uint8_t *x, int64_t count, uint8_t *y);
  void (*shuffle)(const Shuffle &);
  bool (*needs)() = nullptr;  // beyond its instruction set: isa/cpu.h
};

SUBBYTE_ISA_SETS(SUBBYTE_ISA_DECLARE)

}  // namespace subbyte::elementwise
