// The packed arrays of a file (docs/format.md), unpacked.
#pragma once

#include <vector>

#include "ort/interface/tensor.h"

namespace subbyte::ort {

// The product of positive numbers; throws an Error above 2^40.
int64_t product(const Dims &dims, const char *name);

// uint8 [ceil(count / 8), bits] at input `index` -> `count` codes; *bits is set.
std::vector<uint8_t> read_codes(const KernelInfo &info, size_t index, const char *name,
                                int64_t count, int *bits);

// float16 [outputs] at input `index`, times attribute scale_base -> float32 [outputs].
std::vector<float> read_scale(const KernelInfo &info, size_t index, int64_t outputs);

}  // namespace subbyte::ort
