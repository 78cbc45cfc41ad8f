// Shape inference: ONNX Runtime's knowledge of a node's inputs and attributes.
#pragma once

#include "ort/interface/kernel.h"

namespace subbyte::ort {

class ShapeContext {
 public:
  explicit ShapeContext(const OrtShapeInferContext *context) : context_(context) {}

  // False where nothing is known; unknown dimensions are -1. ONNX Runtime hands an unknown
  // shape over with no dimensions, as it does a scalar's: neither is known.
  bool input(size_t index, InferredShape *shape) const;
  // False where the attribute is missing, or a number of it is beyond low .. high.
  bool integer(const char *attribute, int64_t low, int64_t high, int64_t *value) const;
  bool integers(const char *attribute, size_t count, int64_t low, int64_t high,
                Dims *values) const;

  void set_output(const InferredShape &shape, Type type) const;

 private:
  const OrtShapeInferContext *context_;
};

// Of x and r broadcast, as numpy does; false where they cannot be.
bool broadcast_shapes(const InferredShape &x, const InferredShape &r, InferredShape *shape);

// Of all inputs of a node joined along `axis`, which counts from the end below 0; every
// `step`-th of them counts. False where no shape is known, or two do not fit.
bool joined_shape(const ShapeContext &context, size_t count, size_t step, int64_t axis,
                  InferredShape *shape);

}  // namespace subbyte::ort
