#include "ort/nodes/shapes.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "ort/interface/error.h"

namespace subbyte::ort {
namespace {

// OrtOpAttrType: one int64, and several.
constexpr int kInteger = 1, kIntegers = 2;
// No machine holds more, and a sum of dimensions up to here does not overflow.
constexpr int64_t kLargest = int64_t{1} << 48;

// Whether a call succeeded; its error is of no interest.
bool done(OrtStatus *status) {
  if (status != nullptr) api.ReleaseStatus(status);
  return status == nullptr;
}

bool within(int64_t value, int64_t low, int64_t high) { return low <= value && value <= high; }

// Fills in what one of two equal dimensions tells of the other; false where they differ.
bool merge_dim(const InferredShape &from, size_t axis, InferredShape *to) {
  int64_t &dim = to->dims[axis];
  if (from.dims[axis] < 0) {
    if (dim < 0 && to->symbols[axis].empty()) to->symbols[axis] = from.symbols[axis];
    return true;
  }
  if (dim >= 0) return dim == from.dims[axis];
  dim = from.dims[axis];
  to->symbols[axis].clear();
  return true;
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
  if (rank == 0) return false;
  shape->dims.assign(rank, -1);
  shape->symbols.assign(rank, "");
  std::vector<const char *> names(rank, nullptr);
  if (!done(api.GetDimensions(info, shape->dims.data(), rank)) ||
      !done(api.GetSymbolicDimensions(info, names.data(), rank))) {
    return false;
  }
  for (size_t i = 0; i < rank; ++i) {
    if (!within(shape->dims[i], 0, kLargest)) shape->dims[i] = -1;
    if (shape->dims[i] < 0 && names[i] != nullptr) shape->symbols[i] = names[i];
  }
  return true;
}

bool ShapeContext::integer(const char *attribute, int64_t low, int64_t high,
                           int64_t *value) const {
  const OrtOpAttr *found = nullptr;
  size_t size = 0;
  return done(api.ShapeInferContext_GetAttribute(context_, attribute, &found)) &&
         done(api.ReadOpAttr(found, kInteger, value, sizeof *value, &size)) &&
         within(*value, low, high);
}

bool ShapeContext::integers(const char *attribute, size_t count, int64_t low, int64_t high,
                            Dims *values) const {
  const OrtOpAttr *found = nullptr;
  if (!done(api.ShapeInferContext_GetAttribute(context_, attribute, &found))) return false;
  values->assign(count, 0);
  size_t size = 0;
  return done(api.ReadOpAttr(found, kIntegers, values->data(), count * sizeof(int64_t), &size)) &&
         size == count * sizeof(int64_t) &&
         std::all_of(values->begin(), values->end(),
                     [&](int64_t value) { return within(value, low, high); });
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

bool broadcast_shapes(const InferredShape &x, const InferredShape &r, InferredShape *shape) {
  const InferredShape &longer = x.dims.size() < r.dims.size() ? r : x;
  const InferredShape &shorter = x.dims.size() < r.dims.size() ? x : r;
  const size_t missing = longer.dims.size() - shorter.dims.size();
  *shape = longer;
  for (size_t i = 0; i < shorter.dims.size(); ++i) {
    int64_t &dim = shape->dims[missing + i];
    std::string &symbol = shape->symbols[missing + i];
    const int64_t other = shorter.dims[i];
    if (other == 1) continue;
    if (dim == 1 || (dim < 0 && other >= 0)) {
      // An unknown dimension beside a number is that number, or 1.
      dim = other;
      symbol = shorter.symbols[i];
    } else if (dim >= 0 && other >= 0 && dim != other) {
      return false;
    } else if (dim < 0 && other < 0 && symbol != shorter.symbols[i]) {
      symbol.clear();  // either of them may be 1
    }
  }
  return true;
}

bool joined_shape(const ShapeContext &context, size_t count, size_t step, int64_t axis,
                  InferredShape *shape) {
  int64_t length = 0;  // -1: not known
  bool known = false;
  for (size_t i = 0; i < count; ++i) {
    InferredShape input;
    if (!context.input(i * step, &input)) {
      length = -1;
      continue;
    }
    const auto rank = static_cast<int64_t>(input.dims.size());
    if (axis < -rank || axis >= rank) return false;
    const auto place = static_cast<size_t>(axis < 0 ? axis + rank : axis);
    length = length < 0 || input.dims[place] < 0 ? -1 : length + input.dims[place];
    if (!known) *shape = input;
    known = true;
    if (input.dims.size() != shape->dims.size()) return false;
    for (size_t each = 0; each < input.dims.size(); ++each) {
      if (each != place && !merge_dim(input, each, shape)) return false;
    }
  }
  if (!known) return false;
  const size_t place = static_cast<size_t>(
      axis < 0 ? axis + static_cast<int64_t>(shape->dims.size()) : axis);
  shape->dims[place] = length;
  shape->symbols[place].clear();
  return true;
}

}  // namespace subbyte::ort
