// The definition in plain loops: one weight at a time.
#include "conv_int4/level.h"

namespace subbyte::conv_int4 {
namespace {

int code_of(const uint8_t *unit, int bits, int vector, int i) {
  if (bits == 4) return unit[vector / 2 * kVector + i] >> (vector % 2 * 4) & 15;
  if (vector < 6) return unit[vector / 2 * kVector + i] >> (vector % 2 * 3) & 7;
  const int high = unit[2 * kVector + i] >> vector & 1;
  return unit[(vector - 6) * kVector + i] >> 6 | high << 2;
}

void unpack(const Unpack &job) {
  for (int64_t unit = 0; unit < job.units; ++unit) {
    for (int vector = 0; vector < kVectors; ++vector) {
      for (int i = 0; i < kVector; ++i) {
        const uint8_t *codes = job.codes + unit * job.bits * kVector;
        const int8_t weight = job.levels[code_of(codes, job.bits, vector, i)];
        const int64_t at = unit * kUnit + vector * kVector + i;
        if (job.element == 1) {
          static_cast<int8_t *>(job.weights)[at] = weight;
        } else {
          static_cast<int16_t *>(job.weights)[at] = weight;
        }
      }
    }
  }
}

void add(const int32_t *from, int64_t count, int32_t *to) {
  for (int64_t i = 0; i < count; ++i) {
    // Unsigned: a sum may pass int32 on its way to a result within it.
    to[i] = static_cast<int32_t>(static_cast<uint32_t>(to[i]) + static_cast<uint32_t>(from[i]));
  }
}

}  // namespace

extern const Level kReference = {"reference", unpack, nullptr, add};

}  // namespace subbyte::conv_int4
