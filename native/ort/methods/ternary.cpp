// rint(P * (63 / max(1, max over n of |P[o, n]|))) for P = X diag(d) Y, X and Y in {-1, 0, 1}.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "ort/interface/error.h"
#include "ort/methods/method.h"
#include "ort/weights/codes.h"
#include "ort/weights/packed.h"
#include "subbyte/conv_int8.h"

namespace subbyte::ort {
namespace {

constexpr int kDigitsPerByte = 5;
constexpr float kLimit = 63.0F;
constexpr int64_t kMostRank = 1 << 16;  // keeps a sum of +-255 within 24 bits
constexpr int64_t kBlock = 64;          // outputs at a time: bounds the memory of their sums

// `count` digits, each + 1.
std::vector<uint8_t> read_digits(const KernelInfo &info, size_t index, const char *name,
                                 int64_t count) {
  const int64_t bytes = (count + kDigitsPerByte - 1) / kDigitsPerByte;
  const auto *packed = info.constant(index, name, Type::kUint8, {bytes}).as<uint8_t>();
  std::vector<uint8_t> digits(static_cast<size_t>(bytes * kDigitsPerByte));
  uint8_t *to = digits.data();
  for (int64_t i = 0; i < bytes; ++i) {
    int byte = packed[i];
    for (int j = 0; j < kDigitsPerByte; ++j, byte /= 3) *to++ = static_cast<uint8_t>(byte % 3);
  }
  digits.resize(static_cast<size_t>(count));
  return digits;
}

void expect_shape(const char *name, const Dims &found, const Dims &expected) {
  if (found == expected) return;
  throw wrong(name, shape_text(expected.data(), expected.size()),
              shape_text(found.data(), found.size()));
}

// One group's factors: X [rows][rank] and Y [rank][width], digits + 1.
struct Factors {
  const uint8_t *left, *d, *right;
  int64_t rows, rank, width;
};

std::vector<uint8_t> transposed(const Factors &f) {
  std::vector<uint8_t> columns(static_cast<size_t>(f.width * f.rank));
  for (int64_t j = 0; j < f.rank; ++j) {
    for (int64_t n = 0; n < f.width; ++n) {
      columns[static_cast<size_t>(n * f.rank + j)] = f.right[j * f.width + n];
    }
  }
  return columns;
}

// The product is a GEMM with the digits of Y as activations. X diag(d) exceeds int8: it is
// 2 * (X diag(d / 2)) + X diag(d mod 2).
class Multiplier {
 public:
  explicit Multiplier(const Factors &f) : f_(f), columns_(transposed(f)) {}

  // sums[n][o] of outputs first .. first + count.
  const std::vector<int32_t> &run(int64_t first, int64_t count) {
    sums_.assign(static_cast<size_t>(f_.width * count), 0);
    part_.resize(sums_.size());
    for (int shift : {1, 0}) {
      multiply(first, count, shift);
      for (size_t i = 0; i < sums_.size(); ++i) sums_[i] = (sums_[i] + part_[i]) * (1 << shift);
    }
    return sums_;
  }

 private:
  void multiply(int64_t first, int64_t count, int shift) {
    subbyte_conv_int8 layer = {};
    layer.geometry.images = layer.geometry.width = layer.geometry.groups = 1;
    layer.geometry.height = f_.width;
    layer.geometry.inputs = f_.rank;
    layer.geometry.outputs = count;
    for (int axis = 0; axis < 2; ++axis) {
      layer.geometry.kernel[axis] = layer.geometry.strides[axis] = layer.geometry.dilations[axis] =
          1;
    }
    layer.input_zero = 1;
    std::vector<int8_t> weights(static_cast<size_t>(count * f_.rank));
    for (int64_t i = 0; i < count * f_.rank; ++i) {
      const int d = f_.d[i % f_.rank];
      const int digit = f_.left[first * f_.rank + i] - 1;
      weights[static_cast<size_t>(i)] =
          static_cast<int8_t>(digit * (shift == 1 ? d >> 1 : d & 1));
    }
    const Buffer packed(subbyte_conv_int8_packed_size(&layer));
    const Buffer scratch(subbyte_conv_int8_scratch_size(&layer));
    check_kernel(subbyte_conv_int8_pack(&layer, weights.data(), packed.get()));
    subbyte_output output = {};
    output.type = SUBBYTE_INT32;
    check_kernel(subbyte_conv_int8_run(&layer, packed.get(), columns_.data(), &output, part_.data(),
                                       0, f_.width, scratch.get()));
  }

  Factors f_;
  std::vector<uint8_t> columns_;
  std::vector<int32_t> sums_, part_;
};

// Rows of sums [width][count], rounded to int8 [count][width].
void round_rows(const std::vector<int32_t> &sums, int64_t width, int64_t count, int8_t *to) {
  for (int64_t o = 0; o < count; ++o) {
    int32_t most = 1;
    for (int64_t n = 0; n < width; ++n) {
      most = std::max(most, std::abs(sums[static_cast<size_t>(n * count + o)]));
    }
    const float factor = kLimit / static_cast<float>(most);
    for (int64_t n = 0; n < width; ++n) {
      const float scaled = static_cast<float>(sums[static_cast<size_t>(n * count + o)]) * factor;
      *to++ = static_cast<int8_t>(std::nearbyint(scaled));
    }
  }
}

std::vector<int8_t> decode(const KernelInfo &info, const WeightShape &shape) {
  const int64_t rows = shape.outputs / shape.groups, width = shape.taps * shape.channels;
  const int64_t rank = info.integers("right_shape", 3, 1, int64_t{1} << 40)[1];
  if (rank > kMostRank) throw wrong("rank", "at most 65536", std::to_string(rank));
  expect_shape("attribute right_shape", info.integers("right_shape", 3, 1, int64_t{1} << 40),
               {shape.groups, rank, width});
  expect_shape("attribute left_shape", info.integers("left_shape", 3, 1, int64_t{1} << 40),
               {shape.groups, rows, rank});
  const auto left = read_digits(info, 1, "left", product({shape.outputs, rank}, "left_shape"));
  const auto *d = info.constant(2, "d", Type::kUint8, {shape.groups, rank}).as<uint8_t>();
  const auto right =
      read_digits(info, 3, "right", product({shape.groups, rank, width}, "right_shape"));
  std::vector<int8_t> weight(static_cast<size_t>(shape.outputs * width));
  int8_t *to = weight.data();
  for (int64_t group = 0; group < shape.groups; ++group) {
    const Factors factors = {left.data() + group * rows * rank, d + group * rank,
                             right.data() + group * rank * width, rows, rank, width};
    Multiplier multiplier(factors);
    for (int64_t first = 0; first < rows; first += kBlock) {
      const int64_t count = std::min(kBlock, rows - first);
      round_rows(multiplier.run(first, count), width, count, to);
      to += count * width;
    }
  }
  return weight;
}

Coded read(const KernelInfo &info, const Geometry &g, const Binarization &) {
  const WeightShape shape = read_decoded_shape(info, g);
  Coded coded;
  coded.scale = read_scale(info, 4, shape.outputs);
  coded.weights = pack_int8(g, decode(info, shape));
  return coded;
}

}  // namespace

extern const Method kTernary = {
    "Ternary", 4, {Type::kUint8, Type::kUint8, Type::kUint8, Type::kFloat16}, false, read};

}  // namespace subbyte::ort
