#include "ort/shapes.h"

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "ort/error.h"

namespace subbyte::ort {
namespace {

constexpr int kIntegers = 2;  // OrtOpAttrType: several int64

// Whether a call succeeded; its error is of no interest.
bool done(OrtStatus *status) {
  if (status != nullptr) api.ReleaseStatus(status);
  return status == nullptr;
}

}  // namespace

bool ShapeContext::input(size_t index, InferredShape *shape) const {
  size_t count = 0, rank = 0;
  OrtTensorTypeAndShapeInfo *info = nullptr;  // the context's own
  if (!done(api.ShapeInferContext_GetInputCount(context_, &count)) || index >= count ||
      !done(api.ShapeInferContext_GetInputTypeShape(context_, index, &info)) ||
      !done(api.GetDimensionsCount(info, &rank))) {
    return false;
  }
  shape->dims.assign(rank, -1);
  shape->symbols.assign(rank, "");
  if (rank == 0) return true;
  std::vector<const char *> names(rank, nullptr);
  if (!done(api.GetDimensions(info, shape->dims.data(), rank)) ||
      !done(api.GetSymbolicDimensions(info, names.data(), rank))) {
    return false;
  }
  for (size_t i = 0; i < rank; ++i) {
    if (names[i] != nullptr) shape->symbols[i] = names[i];
  }
  return true;
}

bool ShapeContext::integers(const char *attribute, size_t count, Dims *values) const {
  const OrtOpAttr *found = nullptr;
  if (!done(api.ShapeInferContext_GetAttribute(context_, attribute, &found))) return false;
  values->assign(count, 0);
  size_t size = 0;
  return done(api.ReadOpAttr(found, kIntegers, values->data(), count * sizeof(int64_t), &size)) &&
         size == count * sizeof(int64_t);
}

void ShapeContext::set_output(const InferredShape &shape, Type type) const {
  OrtTensorTypeAndShapeInfo *info = nullptr;
  check(api.CreateTensorTypeAndShapeInfo(&info));
  const std::unique_ptr<OrtTensorTypeAndShapeInfo, void (*)(OrtTensorTypeAndShapeInfo *)> held(
      info, api.ReleaseTensorTypeAndShapeInfo);
  check(api.SetTensorElementType(info, static_cast<int>(type)));
  check(api.SetDimensions(info, shape.dims.data(), shape.dims.size()));
  // A dimension without a name would be taken for the number -1, and one name twice for the
  // same dimension.
  static std::atomic<uint64_t> unknown{0};
  std::vector<std::string> symbols = shape.symbols;
  std::vector<const char *> names;
  for (size_t i = 0; i < symbols.size(); ++i) {
    if (shape.dims[i] < 0 && symbols[i].empty()) {
      symbols[i] = "subbyte_unknown_" + std::to_string(++unknown);
    }
    names.push_back(symbols[i].c_str());
  }
  check(api.SetSymbolicDimensions(info, names.data(), names.size()));
  check(api.ShapeInferContext_SetOutputTypeShape(context_, 0, info));
}

}  // namespace subbyte::ort
