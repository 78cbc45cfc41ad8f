// Random look-up layers, and what they compute by the formula of subbyte.h alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "conv_lut16/plan.h"
#include "subbyte/conv_lut16.h"

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

// Random kernel, strides, dilations and pads for a shape of any kernel of the library, with at
// least one output.
template <typename Shape>
void pick_window(Random &random, int most_taps, Shape *l) {
  for (int axis = 0; axis < 2; ++axis) {
    l->geometry.kernel[axis] = pick(random, 1, most_taps);
    l->geometry.strides[axis] = pick(random, 1, 3);
    l->geometry.dilations[axis] = pick(random, 1, 2);
    const int64_t span = (l->geometry.kernel[axis] - 1) * l->geometry.dilations[axis] + 1;
    const int64_t size = axis == 0 ? l->geometry.height : l->geometry.width;
    const int least = static_cast<int>(std::max<int64_t>(0, span - size));
    l->geometry.pads[axis] = pick(random, 0, 2);
    l->geometry.pads[axis + 2] =
        std::max<int64_t>(pick(random, 0, 2), least - l->geometry.pads[axis]);
  }
}

// A last stage to bytes, with random scales and biases of `outputs` channels and a residual for
// `count` values of y.
struct Ends {
  std::vector<float> scale, bias;
  std::vector<uint8_t> residual;
  subbyte_output output;

  Ends(size_t outputs, size_t count, Random &random) : scale(outputs), bias(outputs) {
    for (size_t o = 0; o < outputs; ++o) {
      scale[o] = static_cast<float>(pick(random, 1, 100)) * 1e-4F;
      bias[o] = static_cast<float>(pick(random, -100, 100));
    }
    residual.resize(count);
    for (uint8_t &v : residual) v = static_cast<uint8_t>(pick(random, 0, 255));
    output = {SUBBYTE_UINT8, scale.data(), bias.data(), residual.data(), 0.37F, 3,
              pick(random, 0, 255), 5, 250, 0, 0, nullptr};
  }
  Ends(const Ends &) = delete;
};

struct Layer {
  subbyte_conv_lut16 shape;
  std::vector<uint8_t> codes, gain_codes, x;
  std::vector<int8_t> gains, codebook;
  int64_t out_height, out_width, words;

  int64_t pixels() const { return shape.geometry.images * out_height * out_width; }
};

// height, width, inputs, outputs of one group, d; a plain 1 x 1 convolution on one image.
subbyte_conv_lut16 shape(int64_t height, int64_t width, int64_t inputs, int64_t outputs, int64_t d);

// Random codes, gains, codebook (within its limits, and sometimes at them) and x for a shape.
Layer fill(const subbyte_conv_lut16 &shape, Random &random);

// Any shape of up to a few thousand outputs.
subbyte_conv_lut16 random_shape(Random &random);

// sum[pixel][output].
std::vector<int32_t> sums(const Layer &layer);

std::string describe(const subbyte_conv_lut16 &shape);

// Pack and run on one level; `misalign` shifts x and y. Throws on an error status.
template <typename T>
std::vector<T> compute(const Layer &layer, const subbyte::conv_lut16::Level &level,
                       const subbyte_output &output, size_t misalign = 0, int64_t split = 0);

}  // namespace layers
