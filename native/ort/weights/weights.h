// The weights of one layer, packed for the kernel that runs it.
#pragma once

#include <memory>
#include <vector>

#include "ort/interface/tensor.h"
#include "subbyte/subbyte.h"

namespace subbyte::ort {

// What the weights are multiplied with: at first a product of one number.
struct Geometry : subbyte_geometry {
  int32_t input_zero = 0;
  // Of y, in one image (rows of a linear layer), as far as the file tells.
  double pixels = 1;
  bool few_rows = false;  // a linear layer (height: its rows) that hardly uses a weight twice

  Geometry() : subbyte_geometry{1, 1, 1, 1, 1, 1, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}} {}
};

class Weights {
 public:
  virtual ~Weights() = default;
  // y = unit * (sums of the kernel): 2^shift / 64 and the like.
  virtual float unit() const = 0;
  // Height and width of y; throws where x does not fit.
  virtual void out_size(const Geometry &geometry, int64_t *height, int64_t *width) const = 0;
  // What can be computed apart: rows of y, or blocks of its outputs.
  virtual int64_t parts(const Geometry &geometry) const = 0;
  // Once a call, before its parts are run: what they all read, of x. It lasts until this
  // thread's next call.
  virtual const void *prepare(const Geometry &geometry, const uint8_t *x) const = 0;
  // Parts begin to end, on this thread.
  virtual void run(const Geometry &geometry, const void *prepared, const subbyte_output &output,
                   void *y, int64_t begin, int64_t end) const = 0;
};

// Weights and weight_scale float32 [outputs] of a node.
struct Coded {
  std::unique_ptr<Weights> weights;
  std::vector<float> scale;
};

}  // namespace subbyte::ort
