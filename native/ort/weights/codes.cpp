#include "ort/weights/codes.h"

#include <cmath>

#include "ort/interface/error.h"

namespace subbyte::ort {
namespace {

constexpr int64_t kMostCodes = int64_t{1} << 40;

float half_to_float(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int fraction = half & 1023;
  float value;
  if (exponent == 31) {
    value = fraction ? NAN : INFINITY;
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    value = std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  }
  return half & 0x8000 ? -value : value;
}

}  // namespace

int64_t product(const Dims &dims, const char *name) {
  int64_t count = 1;
  for (const int64_t dim : dims) {
    if (dim < 1 || count > kMostCodes / dim) {
      throw wrong(name, "positive numbers with a product of at most 2^40",
                     shape_text(dims.data(), dims.size()));
    }
    count *= dim;
  }
  return count;
}

std::vector<uint8_t> read_codes(const KernelInfo &info, size_t index, const char *name,
                                int64_t count, int *bits) {
  const Tensor packed = info.constant(index, name, Type::kUint8);
  const int64_t rows = (count + 7) / 8;
  if (packed.dims.size() != 2 || packed.dims[0] != rows || packed.dims[1] < 1 ||
      packed.dims[1] > 8) {
    throw wrong(name, "[" + std::to_string(rows) + ", 1 to 8]",
                   shape_text(packed.dims.data(), packed.dims.size()));
  }
  const auto width = static_cast<int>(packed.dims[1]);
  const auto mask = static_cast<uint64_t>((1 << width) - 1);
  std::vector<uint8_t> codes(static_cast<size_t>(rows) * 8);
  const uint8_t *source = packed.as<uint8_t>();
  for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
    uint64_t eight = 0;
    for (int byte = 0; byte < width; ++byte) {
      eight |= static_cast<uint64_t>(*source++) << 8 * byte;
    }
    for (int j = 0; j < 8; ++j) {
      codes[row * 8 + static_cast<size_t>(j)] = static_cast<uint8_t>(eight >> j * width & mask);
    }
  }
  codes.resize(static_cast<size_t>(count));
  *bits = width;
  return codes;
}

std::vector<float> read_scale(const KernelInfo &info, size_t index, int64_t outputs) {
  const Tensor halves = info.constant(index, "scale", Type::kFloat16, {outputs});
  const float base = info.real("scale_base");
  std::vector<float> scale(static_cast<size_t>(outputs));
  for (size_t o = 0; o < scale.size(); ++o) {
    scale[o] = half_to_float(halves.as<uint16_t>()[o]) * base;
    if (!std::isfinite(scale[o])) {
      throw wrong("scale", "finite numbers", std::to_string(scale[o]));
    }
  }
  return scale;
}

}  // namespace subbyte::ort
