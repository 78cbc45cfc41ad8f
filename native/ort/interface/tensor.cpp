#include "ort/interface/tensor.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cmath>
#include <new>

#include "ort/interface/error.h"
#include "subbyte/subbyte.h"

namespace subbyte::ort {
namespace {

const char *type_name(Type type) {
  switch (type) {
    case Type::kFloat:
      return "float32";
    case Type::kUint8:
      return "uint8";
    case Type::kInt8:
      return "int8";
    case Type::kFloat16:
      return "float16";
  }
  return "another type";
}

void check_type(const Tensor &tensor, const char *name, Type type) {
  if (tensor.type != type) throw wrong(name, type_name(type), type_name(tensor.type));
}

void check_range(const char *name, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) {
    throw wrong(name, std::to_string(low) + " to " + std::to_string(high),
                   std::to_string(value));
  }
}

// Weights that are read from memory: with large pages a core reads up to a fifth more a second.
// A wish, before the memory is first written; small buffers would only grow by it.
void ask_for_large_pages(void *data, size_t bytes) {
#if defined(__linux__)
  constexpr uintptr_t kPage = 4096;
  constexpr size_t kLeast = size_t{4} << 20;
  if (bytes < kLeast) return;
  const uintptr_t start = (reinterpret_cast<uintptr_t>(data) + kPage - 1) / kPage * kPage;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / kPage * kPage;
  static_cast<void>(madvise(reinterpret_cast<void *>(start), end - start, MADV_HUGEPAGE));
#else
  static_cast<void>(data);
  static_cast<void>(bytes);
#endif
}

std::string attribute_name(const char *name) { return std::string("attribute ") + name; }

}  // namespace

int64_t Tensor::count() const {
  int64_t product = 1;
  for (const int64_t dim : dims) product *= dim;
  return product;
}

Tensor read_tensor(const OrtValue *value) {
  OrtTensorTypeAndShapeInfo *info = nullptr;
  check(api.GetTensorTypeAndShape(value, &info));
  const std::unique_ptr<OrtTensorTypeAndShapeInfo, void (*)(OrtTensorTypeAndShapeInfo *)> held(
      info, api.ReleaseTensorTypeAndShapeInfo);
  Tensor tensor = {};
  int type = 0;
  check(api.GetTensorElementType(info, &type));
  tensor.type = static_cast<Type>(type);
  size_t rank = 0;
  check(api.GetDimensionsCount(info, &rank));
  tensor.dims.resize(rank);
  check(api.GetDimensions(info, tensor.dims.data(), rank));
  void *data = nullptr;
  check(api.GetTensorMutableData(const_cast<OrtValue *>(value), &data));
  tensor.data = data;
  return tensor;
}

std::string KernelInfo::node() const {
  char name[256] = "";
  size_t size = sizeof name;
  OrtStatus *status = api.KernelInfo_GetNodeName(info_, name, &size);
  if (status == nullptr) return name;
  api.ReleaseStatus(status);  // longer than the buffer
  std::string text(size, '\0');
  check(api.KernelInfo_GetNodeName(info_, text.data(), &size));
  text.resize(size > 0 ? size - 1 : 0);
  return text;
}

bool KernelInfo::has(const char *attribute) const {
  int64_t value = 0;
  OrtStatus *status = api.KernelInfoGetAttribute_int64(info_, attribute, &value);
  if (status != nullptr) api.ReleaseStatus(status);
  return status == nullptr;
}

int64_t KernelInfo::integer(const char *attribute, int64_t low, int64_t high) const {
  int64_t value = 0;
  check(api.KernelInfoGetAttribute_int64(info_, attribute, &value));
  check_range(attribute_name(attribute).c_str(), value, low, high);
  return value;
}

Dims KernelInfo::integers(const char *attribute, size_t count, int64_t low, int64_t high) const {
  size_t size = 0;
  check(api.KernelInfoGetAttributeArray_int64(info_, attribute, nullptr, &size));
  if (size != count) {
    throw wrong(attribute_name(attribute), std::to_string(count) + " integers",
                   std::to_string(size));
  }
  Dims values(count);
  check(api.KernelInfoGetAttributeArray_int64(info_, attribute, values.data(), &size));
  for (const int64_t value : values) {
    check_range(attribute_name(attribute).c_str(), value, low, high);
  }
  return values;
}

float KernelInfo::real(const char *attribute) const {
  float value = 0;
  check(api.KernelInfoGetAttribute_float(info_, attribute, &value));
  if (!std::isfinite(value)) {
    throw wrong(attribute_name(attribute), "a finite number", std::to_string(value));
  }
  return value;
}

std::string KernelInfo::text(const char *attribute) const {
  char value[64] = "";
  size_t size = sizeof value;
  check(api.KernelInfoGetAttribute_string(info_, attribute, value, &size));
  return value;
}

Dims KernelInfo::shape(size_t index) const {
  OrtTypeInfo *type = nullptr;
  check(api.KernelInfo_GetInputTypeInfo(info_, index, &type));
  const std::unique_ptr<OrtTypeInfo, void (*)(OrtTypeInfo *)> held(type, api.ReleaseTypeInfo);
  const OrtTensorTypeAndShapeInfo *tensor = nullptr;
  check(api.CastTypeInfoToTensorInfo(type, &tensor));
  if (tensor == nullptr) return {};
  size_t rank = 0;
  check(api.GetDimensionsCount(tensor, &rank));
  Dims dims(rank);
  check(api.GetDimensions(tensor, dims.data(), rank));
  return dims;
}

Tensor KernelInfo::constant(size_t index, const char *name, Type type) const {
  int constant = 0;
  const OrtValue *value = nullptr;
  check(api.KernelInfoGetConstantInput_tensor(info_, index, &constant, &value));
  if (!constant || value == nullptr) throw wrong(name, "a constant input", "none");
  Tensor tensor = read_tensor(value);
  check_type(tensor, name, type);
  return tensor;
}

Tensor KernelInfo::constant(size_t index, const char *name, Type type, const Dims &dims) const {
  Tensor tensor = constant(index, name, type);
  if (tensor.dims != dims) {
    throw wrong(name, shape_text(dims.data(), dims.size()),
                   shape_text(tensor.dims.data(), tensor.dims.size()));
  }
  return tensor;
}

float KernelInfo::scale(size_t index, const char *name) const {
  const float value = *constant(index, name, Type::kFloat, {}).as<float>();
  if (!(value > 0) || !std::isfinite(value)) {
    throw wrong(name, "a positive number", std::to_string(value));
  }
  return value;
}

int32_t KernelInfo::zero_point(size_t index, const char *name) const {
  return *constant(index, name, Type::kUint8, {}).as<uint8_t>();
}

Tensor KernelContext::input(size_t index, const char *name, Type type) const {
  const OrtValue *value = nullptr;
  check(api.KernelContext_GetInput(context_, index, &value));
  if (value == nullptr) throw wrong(name, "an input", "none");
  Tensor tensor = read_tensor(value);
  check_type(tensor, name, type);
  return tensor;
}

void *KernelContext::output(const Dims &dims) const {
  OrtValue *value = nullptr;
  check(api.KernelContext_GetOutput(context_, 0, dims.data(), dims.size(), &value));
  void *data = nullptr;
  check(api.GetTensorMutableData(value, &data));
  return data;
}

Buffer::Buffer(size_t bytes)
    : data_(::operator new(bytes, std::align_val_t{SUBBYTE_ALIGNMENT})), size_(bytes) {
  ask_for_large_pages(data_.get(), bytes);
}

void Buffer::Free::operator()(void *data) const {
  ::operator delete(data, std::align_val_t{SUBBYTE_ALIGNMENT});
}

}  // namespace subbyte::ort
