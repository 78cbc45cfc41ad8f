// Compiled with SUBBYTE_ORT_INCLUDE_DIR alone: every place that api.h declares against ONNX
// Runtime's own headers.
#include <onnxruntime_c_api.h>

#include <cstddef>
#include <cstdint>

// The names of both headers are the same.
namespace declared {
#include "ort/interface/api.h"
}

#define SUBBYTE_ORT_CHECK(slot, name, result, arguments) \
  static_assert(offsetof(OrtApi, name) == slot * sizeof(void *), "the place of " #name);
SUBBYTE_ORT_ENTRIES(SUBBYTE_ORT_CHECK)

using Ours = declared::subbyte::ort::CustomOp;

#define SUBBYTE_ORT_CHECK_FIELD(name, ours) \
  static_assert(offsetof(OrtCustomOp, name) == offsetof(Ours, ours), "the place of " #name);
SUBBYTE_ORT_CHECK_FIELD(version, version)
SUBBYTE_ORT_CHECK_FIELD(GetName, GetName)
SUBBYTE_ORT_CHECK_FIELD(GetExecutionProviderType, GetExecutionProviderType)
SUBBYTE_ORT_CHECK_FIELD(GetInputType, GetInputType)
SUBBYTE_ORT_CHECK_FIELD(GetInputTypeCount, GetInputTypeCount)
SUBBYTE_ORT_CHECK_FIELD(GetOutputType, GetOutputType)
SUBBYTE_ORT_CHECK_FIELD(GetOutputTypeCount, GetOutputTypeCount)
SUBBYTE_ORT_CHECK_FIELD(KernelDestroy, KernelDestroy)
SUBBYTE_ORT_CHECK_FIELD(GetInputCharacteristic, GetInputCharacteristic)
SUBBYTE_ORT_CHECK_FIELD(GetOutputCharacteristic, GetOutputCharacteristic)
SUBBYTE_ORT_CHECK_FIELD(GetInputMemoryType, GetInputMemoryType)
SUBBYTE_ORT_CHECK_FIELD(GetVariadicInputMinArity, GetVariadicInputMinArity)
SUBBYTE_ORT_CHECK_FIELD(GetVariadicOutputHomogeneity, GetVariadicOutputHomogeneity)
SUBBYTE_ORT_CHECK_FIELD(CreateKernelV2, CreateKernelV2)
SUBBYTE_ORT_CHECK_FIELD(KernelComputeV2, KernelComputeV2)
SUBBYTE_ORT_CHECK_FIELD(InferOutputShapeFn, InferOutputShape)
SUBBYTE_ORT_CHECK_FIELD(GetStartVersion, GetStartVersion)
SUBBYTE_ORT_CHECK_FIELD(GetEndVersion, GetEndVersion)

#define SUBBYTE_ORT_CHECK_VALUE(name, ours)                                        \
  static_assert(int{name} == static_cast<int>(declared::subbyte::ort::ours), "the value of " #name);
SUBBYTE_ORT_CHECK_VALUE(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, Type::kFloat)
SUBBYTE_ORT_CHECK_VALUE(ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, Type::kUint8)
SUBBYTE_ORT_CHECK_VALUE(ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8, Type::kInt8)
SUBBYTE_ORT_CHECK_VALUE(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, Type::kFloat16)
SUBBYTE_ORT_CHECK_VALUE(ORT_FAIL, kFail)
SUBBYTE_ORT_CHECK_VALUE(ORT_INVALID_ARGUMENT, kInvalidArgument)
SUBBYTE_ORT_CHECK_VALUE(ORT_INVALID_GRAPH, kInvalidGraph)
