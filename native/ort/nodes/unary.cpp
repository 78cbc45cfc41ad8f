// Unary<number>: a function of one value, as a table of its 256 codes.
#include <algorithm>

#include "ort/interface/error.h"
#include "ort/interface/kernel.h"
#include "ort/interface/parallel.h"
#include "ort/nodes/shapes.h"
#include "subbyte/elementwise.h"

namespace subbyte::ort {
namespace {

// Functions of a file that are native, by their number; beyond, the file's own function serves.
constexpr int kMostFunctions = 64;
constexpr int64_t kCodes = 256, kBlock = 4096;
constexpr size_t kTable = 5;  // its place among the inputs

class Unary final : public Kernel {
 public:
  void compute(const KernelContext &context) const override {
    const Tensor x = context.input(0, "x", Type::kUint8);
    const Tensor table = context.input(kTable, "table", Type::kUint8);
    if (table.dims != Dims{kCodes}) {
      throw wrong("table", "[256]", shape_text(table.dims.data(), table.dims.size()));
    }
    auto *y = static_cast<uint8_t *>(context.output(x.dims));
    int64_t count = 1;
    for (const int64_t size : x.dims) count *= size;
    const int64_t blocks = (count + kBlock - 1) / kBlock;
    parallel_.run(context, blocks, kBlock / 4, [&](int64_t begin, int64_t end) {
      check_kernel(subbyte_map_run(table.as<uint8_t>(), x.as<uint8_t>(), y, begin * kBlock,
                                   std::min(end * kBlock, count)));
    });
  }

 private:
  Parallel parallel_;
};

}  // namespace

void add_unary(std::vector<Operator> *operators) {
  for (int number = 0; number < kMostFunctions; ++number) {
    Operator made;
    made.name = "Unary" + std::to_string(number);
    made.inputs = {Type::kUint8, Type::kFloat, Type::kUint8,
                   Type::kFloat, Type::kUint8, Type::kUint8};
    made.make = [](const KernelInfo &) { return std::make_unique<Unary>(); };
    made.infer = [](const ShapeContext &context, InferredShape *shape) {
      return context.input(0, shape);
    };
    operators->push_back(made);
  }
}

}  // namespace subbyte::ort
