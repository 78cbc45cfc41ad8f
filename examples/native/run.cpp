// Run a compressed file on subbyte's kernels, through ONNX Runtime's public interface alone.
//
//   cmake -S examples/native -B build/example -DONNXRUNTIME_DIR=/path/to/onnxruntime-linux-x64
//   cmake --build build/example
//   build/example/run MODEL.onnx "$(subbyte library-path)"
//
// ONNXRUNTIME_DIR is an unpacked release of ONNX Runtime, with include/ and lib/: its Python
// package has no headers. Nothing of subbyte is compiled or linked in.
#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <cstdio>
#include <vector>

namespace {

void run(const char *model, const char *library) {
  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "example");
  Ort::SessionOptions options;
  options.RegisterCustomOpsLibrary(library);
  Ort::Session session(env, model, options);

  Ort::AllocatorWithDefaultOptions allocator;
  auto input = session.GetInputNameAllocated(0, allocator);
  auto output = session.GetOutputNameAllocated(0, allocator);
  std::vector<int64_t> shape = session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
  size_t count = 1;
  for (int64_t &size : shape) {
    size = size < 1 ? 1 : size; // a free dimension, such as the batch, is -1
    count *= static_cast<size_t>(size);
  }
  std::vector<float> values(count, 0.5F);
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto x = Ort::Value::CreateTensor<float>(memory, values.data(), count, shape.data(), shape.size());

  const char *inputs[] = {input.get()};
  const char *outputs[] = {output.get()};
  auto results = session.Run(Ort::RunOptions{nullptr}, inputs, &x, 1, outputs, 1);
  const float *y = results[0].GetTensorData<float>();
  const size_t scores = results[0].GetTensorTypeAndShapeInfo().GetElementCount();
  double sum = 0;
  for (size_t i = 0; i < scores; ++i) {
    sum += static_cast<double>(y[i]);
  }
  std::printf("%s: %zu values, sum %g\n", output.get(), scores, sum);
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s MODEL.onnx LIBRARY\n", argv[0]);
    return 2;
  }
  try {
    run(argv[1], argv[2]);
  } catch (const Ort::Exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
