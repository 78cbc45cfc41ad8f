// Weights that the int8 kernel multiplies with, from the packed arrays of docs/format.md.
#pragma once

#include <cstdint>
#include <vector>

#include "ort/tensor.h"

namespace subbyte::ort {

struct WeightShape {
  int64_t outputs, taps, channels;  // weight_shape; channels of one group
  int64_t groups;                   // of the convolution; a divisor of outputs
};

// Effective int8 weights [outputs][taps][channels], as the node's function unpacks them.
std::vector<int8_t> decode_ternary(const KernelInfo &info, const WeightShape &shape);
std::vector<int8_t> decode_composite(const KernelInfo &info, const WeightShape &shape,
                                     bool factored);

}  // namespace subbyte::ort
