// The part of ONNX Runtime's C interface that a library of operators needs.
//
// ONNX Runtime ships no headers with its wheels. Its interface is a table of functions to
// which new ones are only ever appended, so the entries used here are declared by their
// place in it. -DSUBBYTE_ORT_INCLUDE_DIR=... makes the build check them (api_check.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {
struct OrtStatus;
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtValue;
struct OrtTensorTypeAndShapeInfo;
struct OrtTypeInfo;
struct OrtCustomOpDomain;
struct OrtSessionOptions;
struct OrtShapeInferContext;
struct OrtOpAttr;

struct OrtApiBase {
  const void *const *(*GetApi)(uint32_t version);
  const char *(*GetVersionString)();
};
}

namespace subbyte::ort {

// The first version that has all entries below: ONNX Runtime 1.17.
constexpr uint32_t kApiVersion = 17;

enum class Type { kFloat = 1, kUint8 = 2, kInt8 = 3, kFloat16 = 10 };

enum ErrorCode { kFail = 1, kInvalidArgument = 2, kInvalidGraph = 10 };

// Place in the table, and signature.
#define SUBBYTE_ORT_ENTRIES(X)                                                              \
  X(0, CreateStatus, OrtStatus *, (int, const char *))                                      \
  X(2, GetErrorMessage, const char *, (const OrtStatus *))                                  \
  X(26, CreateCustomOpDomain, OrtStatus *, (const char *, OrtCustomOpDomain **))            \
  X(27, CustomOpDomain_Add, OrtStatus *, (OrtCustomOpDomain *, const struct CustomOp *))    \
  X(28, AddCustomOpDomain, OrtStatus *, (OrtSessionOptions *, OrtCustomOpDomain *))         \
  X(51, GetTensorMutableData, OrtStatus *, (OrtValue *, void **))                           \
  X(55, CastTypeInfoToTensorInfo, OrtStatus *,                                              \
    (const OrtTypeInfo *, const OrtTensorTypeAndShapeInfo **))                              \
  X(57, CreateTensorTypeAndShapeInfo, OrtStatus *, (OrtTensorTypeAndShapeInfo **))          \
  X(58, SetTensorElementType, OrtStatus *, (OrtTensorTypeAndShapeInfo *, int))              \
  X(59, SetDimensions, OrtStatus *, (OrtTensorTypeAndShapeInfo *, const int64_t *, size_t)) \
  X(60, GetTensorElementType, OrtStatus *, (const OrtTensorTypeAndShapeInfo *, int *))      \
  X(61, GetDimensionsCount, OrtStatus *, (const OrtTensorTypeAndShapeInfo *, size_t *))     \
  X(62, GetDimensions, OrtStatus *, (const OrtTensorTypeAndShapeInfo *, int64_t *, size_t)) \
  X(63, GetSymbolicDimensions, OrtStatus *,                                                 \
    (const OrtTensorTypeAndShapeInfo *, const char **, size_t))                             \
  X(65, GetTensorTypeAndShape, OrtStatus *,                                                 \
    (const OrtValue *, OrtTensorTypeAndShapeInfo **))                                       \
  X(85, KernelInfoGetAttribute_float, OrtStatus *,                                          \
    (const OrtKernelInfo *, const char *, float *))                                         \
  X(86, KernelInfoGetAttribute_int64, OrtStatus *,                                          \
    (const OrtKernelInfo *, const char *, int64_t *))                                       \
  X(87, KernelInfoGetAttribute_string, OrtStatus *,                                         \
    (const OrtKernelInfo *, const char *, char *, size_t *))                                \
  X(88, KernelContext_GetInputCount, OrtStatus *, (const OrtKernelContext *, size_t *))     \
  X(90, KernelContext_GetInput, OrtStatus *,                                                \
    (const OrtKernelContext *, size_t, const OrtValue **))                                  \
  X(91, KernelContext_GetOutput, OrtStatus *,                                               \
    (OrtKernelContext *, size_t, const int64_t *, size_t, OrtValue **))                     \
  X(93, ReleaseStatus, void, (OrtStatus *))                                                 \
  X(98, ReleaseTypeInfo, void, (OrtTypeInfo *))                                             \
  X(99, ReleaseTensorTypeAndShapeInfo, void, (OrtTensorTypeAndShapeInfo *))                 \
  X(101, ReleaseCustomOpDomain, void, (OrtCustomOpDomain *))                                \
  X(163, KernelInfoGetAttributeArray_int64, OrtStatus *,                                    \
    (const OrtKernelInfo *, const char *, int64_t *, size_t *))                             \
  X(230, KernelInfo_GetInputCount, OrtStatus *, (const OrtKernelInfo *, size_t *))          \
  X(234, KernelInfo_GetInputTypeInfo, OrtStatus *,                                          \
    (const OrtKernelInfo *, size_t, OrtTypeInfo **))                                        \
  X(244, KernelInfo_GetNodeName, OrtStatus *, (const OrtKernelInfo *, char *, size_t *))    \
  X(249, KernelInfoGetConstantInput_tensor, OrtStatus *,                                    \
    (const OrtKernelInfo *, size_t, int *, const OrtValue **))                              \
  X(267, ShapeInferContext_GetInputCount, OrtStatus *,                                      \
    (const OrtShapeInferContext *, size_t *))                                               \
  X(268, ShapeInferContext_GetInputTypeShape, OrtStatus *,                                  \
    (const OrtShapeInferContext *, size_t, OrtTensorTypeAndShapeInfo **))                   \
  X(269, ShapeInferContext_GetAttribute, OrtStatus *,                                       \
    (const OrtShapeInferContext *, const char *, const OrtOpAttr **))                       \
  X(270, ShapeInferContext_SetOutputTypeShape, OrtStatus *,                                 \
    (const OrtShapeInferContext *, size_t, const OrtTensorTypeAndShapeInfo *))              \
  X(271, SetSymbolicDimensions, OrtStatus *,                                                \
    (OrtTensorTypeAndShapeInfo *, const char **, size_t))                                   \
  X(272, ReadOpAttr, OrtStatus *, (const OrtOpAttr *, int, void *, size_t, size_t *))       \
  X(274, KernelContext_ParallelFor, OrtStatus *,                                            \
    (const OrtKernelContext *, void (*)(void *, size_t), size_t, size_t, void *))

// The entries, by name.
struct Api {
#define SUBBYTE_ORT_FIELD(slot, name, result, arguments) result(*name) arguments;
  SUBBYTE_ORT_ENTRIES(SUBBYTE_ORT_FIELD)
#undef SUBBYTE_ORT_FIELD
};

// Set by RegisterCustomOps before any operator exists; the same for every session.
extern Api api;

// ONNX Runtime's OrtCustomOp, as of kApiVersion.
struct CustomOp {
  uint32_t version;
  void *(*CreateKernel)(const CustomOp *, const void *api, const OrtKernelInfo *);
  const char *(*GetName)(const CustomOp *);
  const char *(*GetExecutionProviderType)(const CustomOp *);
  int (*GetInputType)(const CustomOp *, size_t);
  size_t (*GetInputTypeCount)(const CustomOp *);
  int (*GetOutputType)(const CustomOp *, size_t);
  size_t (*GetOutputTypeCount)(const CustomOp *);
  void (*KernelCompute)(void *kernel, OrtKernelContext *);
  void (*KernelDestroy)(void *kernel);
  int (*GetInputCharacteristic)(const CustomOp *, size_t);
  int (*GetOutputCharacteristic)(const CustomOp *, size_t);
  int (*GetInputMemoryType)(const CustomOp *, size_t);
  int (*GetVariadicInputMinArity)(const CustomOp *);
  int (*GetVariadicInputHomogeneity)(const CustomOp *);
  int (*GetVariadicOutputMinArity)(const CustomOp *);
  int (*GetVariadicOutputHomogeneity)(const CustomOp *);
  OrtStatus *(*CreateKernelV2)(const CustomOp *, const void *api, const OrtKernelInfo *, void **);
  OrtStatus *(*KernelComputeV2)(void *kernel, OrtKernelContext *);
  OrtStatus *(*InferOutputShape)(const CustomOp *, OrtShapeInferContext *);
  int (*GetStartVersion)(const CustomOp *);
  int (*GetEndVersion)(const CustomOp *);
  size_t (*GetMayInplace)(int **, int **);
  void (*ReleaseMayInplace)(int *, int *);
  size_t (*GetAliasMap)(int **, int **);
  void (*ReleaseAliasMap)(int *, int *);
};

static_assert(sizeof(CustomOp) == 26 * sizeof(void *), "the fields of OrtCustomOp in order");

}  // namespace subbyte::ort
