// Random look-up layers, and what they compute by the formula of subbyte.h alone.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "lookup/plan.h"
#include "subbyte/subbyte.h"

namespace layers {

using Random = std::mt19937;

inline int pick(Random &random, int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random);
}

// Bytes at an offset from any alignment, allocated to the byte: the sanitizer sees a read or
// a write beyond them.
template <typename T>
struct Buffer {
  std::vector<unsigned char> bytes;
  size_t offset;

  explicit Buffer(size_t count, size_t shift = 0)
      : bytes(count * sizeof(T) + shift), offset(shift) {}
  T *data() { return reinterpret_cast<T *>(bytes.data() + offset); }
};

// The same, aligned as packed weights and scratch must be.
struct Aligned {
  std::vector<unsigned char> bytes;
  explicit Aligned(size_t count) : bytes(count + SUBBYTE_ALIGNMENT) {}
  void *data() {
    const auto at = reinterpret_cast<uintptr_t>(bytes.data());
    const auto rest = at % SUBBYTE_ALIGNMENT;
    return bytes.data() + (rest == 0 ? 0 : SUBBYTE_ALIGNMENT - rest);
  }
};

struct Layer {
  subbyte_lookup shape;
  std::vector<uint8_t> codes, gain_codes, x;
  std::vector<int8_t> gains, codebook;
  int64_t out_height, out_width, words;

  int64_t pixels() const { return shape.images * out_height * out_width; }
};

// height, width, inputs, outputs of one group, d; a plain 1 x 1 convolution on one image.
subbyte_lookup shape(int64_t height, int64_t width, int64_t inputs, int64_t outputs, int64_t d);

// Random codes, gains, codebook (within its limits, and sometimes at them) and x for a shape.
Layer fill(const subbyte_lookup &shape, Random &random);

// Any shape of up to a few thousand outputs.
subbyte_lookup random_shape(Random &random);

// sum[pixel][output].
std::vector<int32_t> sums(const Layer &layer);

std::string describe(const subbyte_lookup &shape);

// Pack and run on one level; `misalign` shifts x and y. Throws on an error status.
template <typename T>
std::vector<T> compute(const Layer &layer, const subbyte::lookup::Level &level,
                       const subbyte_output &output, size_t misalign = 0, int64_t split = 0);

}  // namespace layers
