// MaxPool, AveragePool and GlobalAveragePool on uint8 [N, H, W, C].
#include <algorithm>

#include "ort/interface/error.h"
#include "ort/interface/kernel.h"
#include "ort/interface/parallel.h"
#include "ort/nodes/shapes.h"
#include "subbyte/elementwise.h"

namespace subbyte::ort {
namespace {

enum class Kind { kMax, kAverage, kGlobal };

constexpr int64_t kLargest = int64_t{1} << 30;
constexpr int64_t kMostKernel = 1024;
constexpr int64_t kMostDilation = 1 << 15;

// The last window begins in x or its padding before x, as ONNX says of ceil_mode.
int64_t pooled(int64_t size, int64_t reach, int64_t stride, int64_t begin, int64_t end,
               bool ceil) {
  const int64_t room = size + begin + end - reach;
  if (room < 0) return 0;
  int64_t out = (room + (ceil ? stride - 1 : 0)) / stride + 1;
  if (ceil && (out - 1) * stride >= size + begin) --out;
  return out;
}

class Pool final : public Kernel {
 public:
  Pool(const KernelInfo &info, Kind kind) : kind_(kind) {
    job_.operation = kind == Kind::kMax ? SUBBYTE_MAX_POOL : SUBBYTE_AVERAGE_POOL;
    if (kind != Kind::kMax) {
      job_.x = {info.scale(1, "x_scale"), info.zero_point(2, "x_zero")};
      job_.y = {info.scale(3, "y_scale"), info.zero_point(4, "y_zero")};
    }
    for (int axis = 0; axis < 2; ++axis) {
      job_.kernel[axis] = job_.strides[axis] = job_.dilations[axis] = 1;
    }
    if (kind == Kind::kGlobal) return;
    read(info.integers("kernel_shape", 2, 1, kMostKernel), job_.kernel);
    read(info.integers("strides", 2, 1, kLargest), job_.strides);
    read(info.integers("pads", 4, 0, kLargest), job_.pads);
    ceil_ = info.integer("ceil_mode", 0, 1) != 0;
    if (kind == Kind::kMax) {
      read(info.integers("dilations", 2, 1, kMostDilation), job_.dilations);
    } else {
      job_.count_padding = static_cast<int32_t>(info.integer("count_include_pad", 0, 1));
    }
  }

  void compute(const KernelContext &context) const override {
    const Tensor x = context.input(0, "x", Type::kUint8);
    if (x.dims.size() != 4 || x.dims[1] < 1 || x.dims[2] < 1) {
      throw wrong("x", "[N, H, W, C]", shape_text(x.dims.data(), x.dims.size()));
    }
    subbyte_pool job = job_;
    job.images = x.dims[0];
    job.height = x.dims[1];
    job.width = x.dims[2];
    job.channels = x.dims[3];
    if (kind_ == Kind::kGlobal) {
      job.kernel[0] = job.height;
      job.kernel[1] = job.width;
    }
    job.out_height = out_size(job, 0);
    job.out_width = out_size(job, 1);
    const Dims dims = {job.images, job.out_height, job.out_width, job.channels};
    auto *y = static_cast<uint8_t *>(context.output(dims));
    if (job.images == 0 || job.channels == 0) return;
    const int64_t cost = job.out_width * job.channels * job.kernel[0] * job.kernel[1] / 4;
    parallel_.run(context, job.images * job.out_height, cost, [&](int64_t begin, int64_t end) {
      check_kernel(subbyte_pool_run(&job, x.as<uint8_t>(), y, begin, end));
    });
  }

 private:
  template <size_t kCount>
  static void read(const Dims &values, int64_t (&to)[kCount]) {
    std::copy(values.begin(), values.end(), to);
  }

  int64_t out_size(const subbyte_pool &job, int axis) const {
    const int64_t size = axis == 0 ? job.height : job.width;
    const int64_t reach = (job.kernel[axis] - 1) * job.dilations[axis] + 1;
    const int64_t out = pooled(size, reach, job.strides[axis], job.pads[axis],
                               job.pads[axis + 2], ceil_);
    if (job.pads[axis] >= reach || job.pads[axis + 2] >= reach) {
      throw wrong("attribute pads", "less than the window", std::to_string(reach));
    }
    if (out < 1) {
      throw wrong("window", "at most as large as the padded input", std::to_string(reach));
    }
    return out;
  }

  Kind kind_;
  subbyte_pool job_ = {};
  bool ceil_ = false;
  Parallel parallel_;
};

// Of axis 0 or 1 of a window on `size` places, or -1: what compute() refuses is not known.
int64_t infer_pooled(const ShapeContext &context, Kind kind, size_t axis, int64_t size) {
  if (kind == Kind::kGlobal) return 1;
  Dims kernel, strides, pads, dilations = {1, 1};
  int64_t ceil = 0;
  if (size < 1 || size > kLargest ||
      !context.integers("kernel_shape", 2, 1, kMostKernel, &kernel) ||
      !context.integers("strides", 2, 1, kLargest, &strides) ||
      !context.integers("pads", 4, 0, kLargest, &pads) ||
      !context.integer("ceil_mode", 0, 1, &ceil) ||
      (kind == Kind::kMax && !context.integers("dilations", 2, 1, kMostDilation, &dilations))) {
    return -1;
  }
  const int64_t reach = (kernel[axis] - 1) * dilations[axis] + 1;
  const int64_t out =
      pooled(size, reach, strides[axis], pads[axis], pads[axis + 2], ceil != 0);
  return out < 1 ? -1 : out;
}

// Images and channels are kept.
bool infer_pool(const ShapeContext &context, Kind kind, InferredShape *shape) {
  if (!context.input(0, shape) || shape->dims.size() != 4) return false;
  for (size_t axis = 0; axis < 2; ++axis) {
    shape->dims[axis + 1] = infer_pooled(context, kind, axis, shape->dims[axis + 1]);
    shape->symbols[axis + 1].clear();
  }
  return true;
}

}  // namespace

void add_pools(std::vector<Operator> *operators) {
  static constexpr struct {
    const char *name;
    Kind kind;
  } kKinds[] = {{"MaxPool", Kind::kMax},
                {"AveragePool", Kind::kAverage},
                {"GlobalAveragePool", Kind::kGlobal}};
  for (const auto &each : kKinds) {
    Operator made;
    made.name = each.name;
    made.inputs = {Type::kUint8};
    if (each.kind != Kind::kMax) {
      made.inputs.insert(made.inputs.end(),
                         {Type::kFloat, Type::kUint8, Type::kFloat, Type::kUint8});
    }
    const Kind kind = each.kind;
    made.make = [kind](const KernelInfo &info) { return std::make_unique<Pool>(info, kind); };
    made.infer = [kind](const ShapeContext &context, InferredShape *shape) {
      return infer_pool(context, kind, shape);
    };
    operators->push_back(made);
  }
}

}  // namespace subbyte::ort
