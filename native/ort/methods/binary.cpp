// Signs, on inputs that the kernel binarizes.
#include "ort/methods/method.h"
#include "ort/weights/codes.h"
#include "ort/weights/packed.h"

namespace subbyte::ort {
namespace {

// x is binarized as whole numbers, codes less their zero point; its scale goes into that of y.
Coded read(const KernelInfo &info, const Geometry &g, const Binarization &x) {
  const WeightShape shape = read_shape(info, g);
  const Tensor signs = info.constant(1, "signs", Type::kUint8, {(shape.count() + 7) / 8, 1});
  Coded coded;
  coded.scale = read_scale(info, 2, shape.outputs);
  coded.weights = pack_binary(g, x, signs.as<uint8_t>());
  return coded;
}

}  // namespace

extern const Method kBinary = {"Binary", 2, {Type::kUint8, Type::kFloat16}, true, read};

}  // namespace subbyte::ort
