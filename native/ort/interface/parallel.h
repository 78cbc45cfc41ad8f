// Work split over ONNX Runtime's own threads.
#pragma once

#include <atomic>
#include <cstdint>

#include "ort/interface/tensor.h"

namespace subbyte::ort {

// This thread's scratch memory, at least `bytes`, aligned; it stays for the next call, so
// that all layers share the cache. Throws std::bad_alloc.
void *scratch(size_t bytes);

class Parallel {
 public:
  // Call work(begin, end) for disjoint parts of 0 .. total, all of it. `cost` is the work of
  // one unit in multiply-adds or the like: small work is not split. Throws the exceptions of work.
  template <typename Work>
  void run(const KernelContext &context, int64_t total, int64_t cost, const Work &work) const {
    split(context, total, cost, &work, [](const void *self, int64_t begin, int64_t end) {
      (*static_cast<const Work *>(self))(begin, end);
    });
  }

 private:
  using Call = void (*)(const void *work, int64_t begin, int64_t end);
  void split(const KernelContext &context, int64_t total, int64_t cost, const void *work,
             Call call) const;
  int threads(const KernelContext &context) const;

  // The interface does not tell the number of threads: the first calls find it out.
  mutable std::atomic<int> probes_{0}, threads_{1};
};

}  // namespace subbyte::ort
