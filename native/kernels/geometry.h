// What every convolution shares: the ranges of its sizes, and the walk over its input.
#pragma once

#include <cstddef>
#include <cstdint>

#include "subbyte/subbyte.h"

namespace subbyte {

// No buffer is larger: sizes up to here cannot overflow when added up.
constexpr int64_t kMostBytes = int64_t{1} << 46;
constexpr int64_t kLargest = int64_t{1} << 30;

// A kernel of height (width) 1 without padding visits only every stride-th row (pixel).
struct Walk {
  int64_t out_height, out_width;
  int64_t rows, columns;          // of the input, as visited
  int64_t row_step, column_step;  // from one visited row (pixel) to the next, in the input
  int64_t stride[2];              // of the visited rows and pixels
  int64_t reach;                  // visited rows under one output row
  int64_t padded_columns;         // left padding + columns + right padding
};

struct Field {
  const char *name;
  int64_t value, low, high;
};

// These return SUBBYTE_OK, or an error with last_error() set.
int check_field(const Field &field);
int check_geometry(const subbyte_geometry &geometry);
int make_walk(const subbyte_geometry &geometry, Walk *walk);  // of a checked geometry
int too_large(const char *what);

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The next multiple of SUBBYTE_ALIGNMENT.
size_t aligned(int64_t bytes);

// Whether a * b * c is within kMostBytes; they are positive.
bool fits(int64_t a, int64_t b, int64_t c = 1);

}  // namespace subbyte
