#include "ort/methods/method.h"

#include "ort/interface/error.h"
#include "ort/weights/codes.h"

namespace subbyte::ort {
namespace {

constexpr int64_t kMostDecoded = int64_t{1} << 30;

}  // namespace

WeightShape read_shape(const KernelInfo &info, const Geometry &g) {
  const Dims weight = info.integers("weight_shape", 3, 1, int64_t{1} << 30);
  const Dims expected = {g.outputs, g.kernel[0] * g.kernel[1], g.inputs / g.groups};
  if (weight != expected) {
    throw wrong("attribute weight_shape", shape_text(expected.data(), 3),
                shape_text(weight.data(), 3));
  }
  product(weight, "attribute weight_shape");
  return {weight[0], weight[1], weight[2], g.groups};
}

WeightShape read_decoded_shape(const KernelInfo &info, const Geometry &g) {
  const WeightShape shape = read_shape(info, g);
  if (shape.count() > kMostDecoded) {
    throw wrong("attribute weight_shape", "at most 2^30 weights", std::to_string(shape.count()));
  }
  return shape;
}

int32_t table_shift(const KernelInfo &info) {
  return static_cast<int32_t>(info.integer(kTableShift, 0, 8));
}

}  // namespace subbyte::ort
