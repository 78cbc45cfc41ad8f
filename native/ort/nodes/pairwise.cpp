// Add and Mul of two quantized tensors, and ConcatN.
#include <algorithm>

#include "ort/interface/error.h"
#include "ort/interface/kernel.h"
#include "ort/interface/parallel.h"
#include "ort/nodes/shapes.h"
#include "subbyte/elementwise.h"

namespace subbyte::ort {
namespace {

// The most inputs of a native concatenation; beyond, the file's own function serves.
constexpr size_t kMostInputs = 16;
constexpr int64_t kMostRank = 64;

bool empty(const Dims &dims) { return std::find(dims.begin(), dims.end(), 0) != dims.end(); }

subbyte_quantized read_quantized(const KernelInfo &info, size_t index, const char *name) {
  const std::string scale = std::string(name) + "_scale", zero = std::string(name) + "_zero";
  return {info.scale(index, scale.c_str()), info.zero_point(index + 1, zero.c_str())};
}

// Dimension `axis` of a shape that is aligned at its end with one of `rank` dimensions.
int64_t aligned_dim(const Dims &dims, size_t rank, size_t axis) {
  const size_t missing = rank - dims.size();
  return axis < missing ? 1 : dims[axis - missing];
}

Dims broadcast(const Dims &x, const Dims &r) {
  const size_t rank = std::max(x.size(), r.size());
  Dims dims(rank);
  for (size_t axis = 0; axis < rank; ++axis) {
    const int64_t a = aligned_dim(x, rank, axis), b = aligned_dim(r, rank, axis);
    if (a != b && a != 1 && b != 1) {
      throw wrong("shapes of x and r", "to broadcast",
                  shape_text(x.data(), x.size()) + " and " + shape_text(r.data(), r.size()));
    }
    dims[axis] = a == 1 ? b : a;
  }
  return dims;
}

// Shape and strides of a job, dimensions that can be walked as one joined.
void set_shape(const Dims &y, const Dims &x, const Dims &r, subbyte_pairwise *job) {
  Dims shape, x_strides, r_strides;
  int64_t x_step = 1, r_step = 1;
  for (size_t axis = y.size(); axis-- > 0;) {
    const int64_t a = aligned_dim(x, y.size(), axis), b = aligned_dim(r, y.size(), axis);
    if (y[axis] == 1) continue;
    const int64_t x_stride = a == 1 ? 0 : x_step, r_stride = b == 1 ? 0 : r_step;
    x_step *= a;
    r_step *= b;
    if (!shape.empty() && x_stride == x_strides.back() * shape.back() &&
        r_stride == r_strides.back() * shape.back()) {
      shape.back() *= y[axis];
      continue;
    }
    shape.push_back(y[axis]);
    x_strides.push_back(x_stride);
    r_strides.push_back(r_stride);
  }
  if (shape.empty()) shape = x_strides = r_strides = {1};
  if (shape.size() > SUBBYTE_MAX_RANK) {
    throw wrong("rank", "at most 8 that cannot be joined", std::to_string(shape.size()));
  }
  job->rank = static_cast<int32_t>(shape.size());
  std::reverse_copy(shape.begin(), shape.end(), job->shape);
  std::reverse_copy(x_strides.begin(), x_strides.end(), job->x_strides);
  std::reverse_copy(r_strides.begin(), r_strides.end(), job->r_strides);
}

class Pairwise final : public Kernel {
 public:
  Pairwise(const KernelInfo &info, int32_t operation) {
    job_.operation = operation;
    job_.x = read_quantized(info, 1, "x");
    job_.r = read_quantized(info, 4, "r");
    job_.y = read_quantized(info, 6, "y");
  }

  void compute(const KernelContext &context) const override {
    const Tensor x = context.input(0, "x", Type::kUint8), r = context.input(3, "r", Type::kUint8);
    const Dims dims = broadcast(x.dims, r.dims);
    auto *y = static_cast<uint8_t *>(context.output(dims));
    if (empty(dims)) return;
    subbyte_pairwise job = job_;
    set_shape(dims, x.dims, r.dims, &job);
    split(&job);
    const int64_t rows = subbyte_pairwise_rows(&job);
    if (rows == 0) throw Error(subbyte_error());
    parallel_.run(context, rows, job.shape[job.rank - 1], [&](int64_t begin, int64_t end) {
      check_kernel(subbyte_pairwise_run(&job, x.as<uint8_t>(), r.as<uint8_t>(), y, begin, end));
    });
  }

 private:
  // One long row becomes rows of 64 KB where it can, for several threads.
  static void split(subbyte_pairwise *job) {
    constexpr int64_t kRow = 1 << 16;
    if (job->rank != 1 || job->shape[0] % kRow != 0) return;
    job->rank = 2;
    for (int64_t *strides : {job->x_strides, job->r_strides}) {
      strides[1] = strides[0];
      strides[0] *= kRow;
    }
    job->shape[1] = kRow;
    job->shape[0] /= kRow;
  }

  subbyte_pairwise job_ = {};
  Parallel parallel_;
};

class Concat final : public Kernel {
 public:
  Concat(const KernelInfo &info, size_t count) : axis_(info.integer("axis", -kMostRank, kMostRank - 1)) {
    for (size_t i = 0; i < count; ++i) inputs_.push_back(read_quantized(info, 3 * i + 1, "x"));
    y_ = read_quantized(info, 3 * count, "y");
  }

  void compute(const KernelContext &context) const override {
    std::vector<Tensor> inputs;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      inputs.push_back(context.input(3 * i, "x", Type::kUint8));
    }
    const size_t axis = find_axis(inputs[0]);
    Dims dims = inputs[0].dims;
    for (size_t i = 1; i < inputs.size(); ++i) {
      Dims other = inputs[i].dims;
      if (other.size() != dims.size()) throw mismatch(dims, other);
      dims[axis] += other[axis];
      other[axis] = dims[axis];
      if (other != dims) throw mismatch(dims, inputs[i].dims);
    }
    auto *y = static_cast<uint8_t *>(context.output(dims));
    if (empty(dims)) return;
    subbyte_requantize job = {1, 1, 0, 0, {}, y_};
    for (size_t i = 0; i < axis; ++i) job.rows *= dims[i];
    int64_t inner = 1;
    for (size_t i = axis + 1; i < dims.size(); ++i) inner *= dims[i];
    job.y_stride = dims[axis] * inner;
    for (size_t i = 0; i < inputs.size(); ++i) {
      job.length = job.x_stride = inputs[i].dims[axis] * inner;
      job.x = inputs_[i];
      check_kernel(subbyte_requantize_run(&job, inputs[i].as<uint8_t>(), y));
      y += job.length;
    }
  }

 private:
  static Error mismatch(const Dims &dims, const Dims &other) {
    return wrong("inputs", "shapes that differ along the axis only",
                 shape_text(dims.data(), dims.size()) + " and " +
                     shape_text(other.data(), other.size()));
  }

  size_t find_axis(const Tensor &x) const {
    const auto rank = static_cast<int64_t>(x.dims.size());
    if (axis_ < -rank || axis_ >= rank) {
      throw wrong("attribute axis", "within the rank of x", std::to_string(axis_));
    }
    return static_cast<size_t>(axis_ < 0 ? axis_ + rank : axis_);
  }

  int64_t axis_;
  std::vector<subbyte_quantized> inputs_;
  subbyte_quantized y_;
};

bool infer_pairwise(const ShapeContext &context, InferredShape *shape) {
  InferredShape x, r;
  return context.input(0, &x) && context.input(3, &r) && broadcast_shapes(x, r, shape);
}

bool infer_concat(const ShapeContext &context, size_t count, InferredShape *shape) {
  int64_t axis = 0;
  return context.integer("axis", -kMostRank, kMostRank - 1, &axis) &&
         joined_shape(context, count, 3, axis, shape);
}

}  // namespace

void add_pairwise(std::vector<Operator> *operators) {
  for (const int32_t operation : {SUBBYTE_ADD, SUBBYTE_MUL}) {
    Operator made;
    made.name = operation == SUBBYTE_ADD ? "Add" : "Mul";
    made.inputs = {Type::kUint8, Type::kFloat, Type::kUint8, Type::kUint8,
                   Type::kFloat, Type::kUint8, Type::kFloat, Type::kUint8};
    made.make = [operation](const KernelInfo &info) {
      return std::make_unique<Pairwise>(info, operation);
    };
    made.infer = infer_pairwise;
    operators->push_back(made);
  }
  for (size_t count = 2; count <= kMostInputs; ++count) {
    Operator made;
    made.name = "Concat" + std::to_string(count);
    for (size_t i = 0; i < count; ++i) {
      made.inputs.insert(made.inputs.end(), {Type::kUint8, Type::kFloat, Type::kUint8});
    }
    made.inputs.insert(made.inputs.end(), {Type::kFloat, Type::kUint8});
    made.make = [count](const KernelInfo &info) { return std::make_unique<Concat>(info, count); };
    made.infer = [count](const ShapeContext &context, InferredShape *shape) {
      return infer_concat(context, count, shape);
    };
    operators->push_back(made);
  }
}

}  // namespace subbyte::ort
