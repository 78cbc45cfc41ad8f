// Shuffle: the channels of every pixel, seen as groups, with groups and their channels turned.
#include "ort/interface/error.h"
#include "ort/interface/kernel.h"
#include "ort/interface/parallel.h"
#include "ort/nodes/shapes.h"
#include "subbyte/elementwise.h"

namespace subbyte::ort {
namespace {

constexpr int64_t kMostChannels = int64_t{1} << 30;
// Attribute `shape` is what x is reshaped to: [0, 0, 0, groups, channels of each], 0 for a size
// that stays.
constexpr size_t kRank = 5, kGroups = 3, kEach = 4;

class Shuffle final : public Kernel {
 public:
  explicit Shuffle(const KernelInfo &info) {
    const Dims shape = info.integers("shape", kRank, 0, kMostChannels);
    groups_ = shape[kGroups];
    channels_ = groups_ * shape[kEach];
    if (shape[0] != 0 || shape[1] != 0 || shape[2] != 0 || groups_ < 1 || shape[kEach] < 1) {
      throw wrong("attribute shape", "[0, 0, 0, groups, channels of each]",
                  shape_text(shape.data(), kRank));
    }
  }

  void compute(const KernelContext &context) const override {
    const Tensor x = context.input(0, "x", Type::kUint8);
    if (x.dims.size() != 4 || x.dims[3] != channels_) {
      throw wrong("x", "[N, H, W, " + std::to_string(channels_) + "]",
                  shape_text(x.dims.data(), x.dims.size()));
    }
    auto *y = static_cast<uint8_t *>(context.output(x.dims));
    const int64_t pixels = x.dims[0] * x.dims[1] * x.dims[2];
    if (pixels == 0) return;
    const subbyte_shuffle job = {channels_, groups_};
    parallel_.run(context, pixels, channels_ / 8 + 1, [&](int64_t begin, int64_t end) {
      check_kernel(subbyte_shuffle_run(&job, x.as<uint8_t>(), y, begin, end));
    });
  }

 private:
  int64_t groups_ = 1, channels_ = 1;
  Parallel parallel_;
};

}  // namespace

void add_shuffle(std::vector<Operator> *operators) {
  Operator made;
  made.name = "Shuffle";
  made.inputs = {Type::kUint8};
  made.make = [](const KernelInfo &info) { return std::make_unique<Shuffle>(info); };
  made.infer = [](const ShapeContext &context, InferredShape *shape) {
    return context.input(0, shape);
  };
  operators->push_back(made);
}

}  // namespace subbyte::ort
