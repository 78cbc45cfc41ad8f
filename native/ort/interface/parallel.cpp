#include "ort/interface/parallel.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>

#include "ort/interface/error.h"

namespace subbyte::ort {
namespace {

// Below this, waking a thread costs more than it saves.
constexpr int64_t kLeastCost = 1 << 19;
constexpr int kMostThreads = 64;
// A thread that was asleep may not show up the first time.
constexpr int kProbes = 3;
constexpr std::chrono::microseconds kProbeTime{100};

struct Probe {
  std::chrono::steady_clock::time_point end;
  std::atomic<int> seen;
  std::atomic<std::thread::id> ids[kMostThreads];
};

// Every thread stays until the probe's time is over: so each takes one part of the work,
// and the number of threads is that of the different ones which came.
void show_up(void *data, size_t) {
  auto *probe = static_cast<Probe *>(data);
  const auto self = std::this_thread::get_id();
  const int count = std::min(probe->seen.load(), kMostThreads);
  for (int i = 0; i < count; ++i) {
    if (probe->ids[i].load() == self) return;
  }
  const int place = probe->seen.fetch_add(1);
  if (place < kMostThreads) probe->ids[place].store(self);
  while (std::chrono::steady_clock::now() < probe->end) {
  }
}

struct Job {
  const void *work;
  void (*call)(const void *, int64_t, int64_t);
  int64_t total, parts;
  std::atomic<bool> failed;
  std::exception_ptr error;  // of the part that failed first
};

void run_part(void *data, size_t part) {
  auto *job = static_cast<Job *>(data);
  const auto index = static_cast<int64_t>(part);
  try {
    job->call(job->work, job->total * index / job->parts, job->total * (index + 1) / job->parts);
  } catch (...) {
    if (!job->failed.exchange(true)) job->error = std::current_exception();
  }
}

}  // namespace

void *scratch(size_t bytes) {
  thread_local Buffer buffer;
  if (buffer.size() < bytes) {
    buffer = Buffer();  // not both at a time
    buffer = Buffer(bytes);
  }
  return buffer.get();
}

int Parallel::threads(const KernelContext &context) const {
  if (probes_.load() >= kProbes) return threads_.load();
  ++probes_;
  Probe probe = {};
  probe.end = std::chrono::steady_clock::now() + kProbeTime;
  check(api.KernelContext_ParallelFor(context.get(), show_up, kMostThreads, 0, &probe));
  const int seen = std::min(probe.seen.load(), kMostThreads);
  if (seen > threads_.load()) threads_.store(seen);
  return threads_.load();
}

void Parallel::split(const KernelContext &context, int64_t total, int64_t cost, const void *work,
                     Call call) const {
  const int64_t units = std::max<int64_t>(1, kLeastCost / std::max<int64_t>(1, cost));
  const int64_t most = total / units;
  const int64_t parts = most <= 1 ? 1 : std::min<int64_t>(most, threads(context));
  if (parts <= 1) {
    if (total > 0) call(work, 0, total);
    return;
  }
  Job job = {work, call, total, parts, {false}, nullptr};
  const auto count = static_cast<size_t>(parts);
  check(api.KernelContext_ParallelFor(context.get(), run_part, count, count, &job));
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace subbyte::ort
