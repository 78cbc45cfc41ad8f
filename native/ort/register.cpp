// RegisterCustomOps: what ONNX Runtime calls when the library is registered.
#include <deque>

#include "ort/interface/error.h"
#include "ort/interface/kernel.h"
#include "ort/nodes/shapes.h"
#include "subbyte/subbyte.h"

namespace subbyte::ort {

Api api = {};

namespace {

constexpr char kDomain[] = "subbyte";

struct Registered : CustomOp {
  Operator definition;
};

const Operator &definition(const CustomOp *op) {
  return static_cast<const Registered *>(op)->definition;
}

std::string node_name(const KernelInfo &info, const CustomOp *op) {
  return definition(op).name + " node '" + info.node() + "'";
}

OrtStatus *create_kernel(const CustomOp *op, const void *, const OrtKernelInfo *info,
                         void **kernel) {
  std::string node = definition(op).name;
  try {
    const KernelInfo reader(info);
    node = node_name(reader, op);
    std::unique_ptr<Kernel> made = definition(op).make(reader);
    made->node = node;
    *kernel = made.release();
    return nullptr;
  } catch (...) {
    return as_status(node);
  }
}

OrtStatus *compute(void *kernel, OrtKernelContext *context) {
  const auto *self = static_cast<const Kernel *>(kernel);
  try {
    self->compute(KernelContext(context));
    return nullptr;
  } catch (...) {
    return as_status(self->node);
  }
}

// Never fails: the check of a node is its kernel's, which can name it.
OrtStatus *infer_shape(const CustomOp *op, OrtShapeInferContext *context) {
  try {
    const ShapeContext reader(context);
    InferredShape shape;
    if (definition(op).infer(reader, &shape)) reader.set_output(shape, definition(op).output);
    return nullptr;
  } catch (...) {
    return as_status(definition(op).name);
  }
}

Registered make_operator(const Operator &made) {
  Registered op = {};
  op.definition = made;
  op.version = kApiVersion;
  op.GetName = [](const CustomOp *self) { return definition(self).name.c_str(); };
  op.GetExecutionProviderType = [](const CustomOp *) -> const char * { return nullptr; };
  op.GetInputTypeCount = [](const CustomOp *self) { return definition(self).inputs.size(); };
  op.GetInputType = [](const CustomOp *self, size_t index) {
    return static_cast<int>(definition(self).inputs[index]);
  };
  op.GetOutputTypeCount = [](const CustomOp *) { return size_t{1}; };
  op.GetOutputType = [](const CustomOp *self, size_t) {
    return static_cast<int>(definition(self).output);
  };
  op.GetInputCharacteristic = [](const CustomOp *, size_t) { return 0; };
  op.GetOutputCharacteristic = [](const CustomOp *, size_t) { return 0; };
  op.GetInputMemoryType = [](const CustomOp *, size_t) { return 0; };
  op.GetVariadicInputMinArity = op.GetVariadicInputHomogeneity = [](const CustomOp *) { return 1; };
  op.GetVariadicOutputMinArity = op.GetVariadicOutputHomogeneity = op.GetVariadicInputMinArity;
  op.GetStartVersion = op.GetEndVersion = op.GetVariadicInputMinArity;
  op.KernelDestroy = [](void *kernel) { delete static_cast<Kernel *>(kernel); };
  op.CreateKernelV2 = create_kernel;
  op.KernelComputeV2 = compute;
  op.InferOutputShape = infer_shape;
  return op;
}

const std::deque<Registered> &operators() {
  static const std::deque<Registered> all = [] {
    std::vector<Operator> definitions;
    add_layers(&definitions);
    add_pairwise(&definitions);
    add_unary(&definitions);
    add_shuffle(&definitions);
    add_pools(&definitions);
    std::deque<Registered> made;
    for (const Operator &each : definitions) made.push_back(make_operator(each));
    return made;
  }();
  return all;
}

void read_api(const void *const *table) {
#define SUBBYTE_ORT_READ(slot, name, result, arguments) \
  api.name = reinterpret_cast<result(*) arguments>(reinterpret_cast<uintptr_t>(table[slot]));
  SUBBYTE_ORT_ENTRIES(SUBBYTE_ORT_READ)
#undef SUBBYTE_ORT_READ
}

// ONNX Runtime does not take the domain over: it lives as long as the library.
OrtCustomOpDomain *domain() {
  static OrtCustomOpDomain *made = [] {
    OrtCustomOpDomain *created = nullptr;
    check(api.CreateCustomOpDomain(kDomain, &created));
    for (const Registered &op : operators()) check(api.CustomOpDomain_Add(created, &op));
    return created;
  }();
  return made;
}

}  // namespace
}  // namespace subbyte::ort

extern "C" SUBBYTE_API OrtStatus *RegisterCustomOps(OrtSessionOptions *options,
                                                    const OrtApiBase *base) {
  using namespace subbyte::ort;
  const void *const *table = base->GetApi(kApiVersion);
  if (table == nullptr) {
    // A runtime this old has the first entry, which makes the error, in its own table.
    table = base->GetApi(1);
    if (table == nullptr) return nullptr;
    auto *create = reinterpret_cast<OrtStatus *(*)(int, const char *)>(
        reinterpret_cast<uintptr_t>(table[0]));
    return create(kFail, "subbyte: the kernel library needs ONNX Runtime 1.17 or newer");
  }
  read_api(table);
  try {
    if (subbyte_isa() == nullptr) throw Error(subbyte_error());
    check(api.AddCustomOpDomain(options, domain()));
    return nullptr;
  } catch (...) {
    return as_status("kernel library");
  }
}
