// Reading ONNX Runtime's data: tensors, attributes, constant inputs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ort/interface/api.h"

namespace subbyte::ort {

using Dims = std::vector<int64_t>;

struct Tensor {
  Type type;
  Dims dims;
  const void *data;

  int64_t count() const;
  template <typename T>
  const T *as() const {
    return static_cast<const T *>(data);
  }
};

Tensor read_tensor(const OrtValue *value);

// What a kernel is made from. Every reader throws an Error that names the input or attribute.
class KernelInfo {
 public:
  explicit KernelInfo(const OrtKernelInfo *info) : info_(info) {}

  // The node's name; its outputs are not known here.
  std::string node() const;
  bool has(const char *attribute) const;
  int64_t integer(const char *attribute, int64_t low, int64_t high) const;
  // `count` integers, each in low .. high.
  Dims integers(const char *attribute, size_t count, int64_t low, int64_t high) const;
  // Finite.
  float real(const char *attribute) const;
  std::string text(const char *attribute) const;

  // What is known of the shape of input `index`: -1 for what is not, and no dimensions at all
  // where nothing is.
  Dims shape(size_t index) const;

  // Constant input `index`, of this type; `name` is for errors. The data stay valid while
  // the session lives.
  Tensor constant(size_t index, const char *name, Type type) const;
  Tensor constant(size_t index, const char *name, Type type, const Dims &dims) const;
  // A positive finite number.
  float scale(size_t index, const char *name) const;
  int32_t zero_point(size_t index, const char *name) const;

 private:
  const OrtKernelInfo *info_;
};

// What a kernel computes on.
class KernelContext {
 public:
  explicit KernelContext(OrtKernelContext *context) : context_(context) {}

  Tensor input(size_t index, const char *name, Type type) const;
  void *output(const Dims &dims) const;
  OrtKernelContext *get() const { return context_; }

 private:
  OrtKernelContext *context_;
};

// Bytes at a multiple of SUBBYTE_ALIGNMENT.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);
  void *get() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(void *data) const;
  };
  std::unique_ptr<void, Free> data_;
  size_t size_ = 0;
};

}  // namespace subbyte::ort
