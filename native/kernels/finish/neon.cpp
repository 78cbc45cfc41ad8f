// Sums to y for 64-bit Arm.
#include "byte_table/neon.h"
#include "finish/level.h"

namespace subbyte::finish {
namespace {

// Compilers vectorise the portable one, but for the table.
void run(const Job &job) {
  const uint8_t *bytes = job.output->table;
  if (bytes == nullptr) return kPortable.run(job);
  subbyte_output codes = *job.output;
  codes.table = nullptr;
  Job first = job;
  first.output = &codes;
  kPortable.run(first);
  const byte_table::Table table = byte_table::load(bytes);
  auto *y = static_cast<uint8_t *>(job.y) + job.y_offset;
  for (int pixel = 0; pixel < job.pixels; ++pixel, y += job.y_stride) {
    byte_table::map(bytes, table, y, job.channels, y);
  }
}

}  // namespace

extern const Level kNeon = {"neon", run};

}  // namespace subbyte::finish
