// Shape inference: what ONNX Runtime knows of a node's inputs and attributes.
#pragma once

#include "ort/kernel.h"

namespace subbyte::ort {

class ShapeContext {
 public:
  explicit ShapeContext(const OrtShapeInferContext *context) : context_(context) {}

  // False where nothing is known; unknown dimensions are -1.
  bool input(size_t index, InferredShape *shape) const;
  bool integers(const char *attribute, size_t count, Dims *values) const;

  void set_output(const InferredShape &shape, Type type) const;

 private:
  const OrtShapeInferContext *context_;
};

}  // namespace subbyte::ort
