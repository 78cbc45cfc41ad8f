// Unpacking in standard C++, for any CPU. Also that of levels without a kernel of their own.
#include "conv_int4/level.h"

namespace subbyte::conv_int4 {
namespace {

template <typename Weight>
void look_up(const uint8_t *codes, const int8_t *levels, Weight *to) {
  for (int i = 0; i < kVector; ++i) to[i] = levels[codes[i]];
}

// Codes of one vector, then their levels: look_up alone cannot be vectorised.
template <typename Weight>
void unpack_unit(const uint8_t *from, int bits, const int8_t *levels, Weight *to) {
  const int mask = (1 << bits) - 1;
  const int fields = bits == 4 ? kVectors : 6;
  uint8_t codes[kVector];
  for (int vector = 0; vector < fields; ++vector) {
    const uint8_t *bytes = from + vector / 2 * kVector;
    const int shift = vector % 2 * bits;
    for (int i = 0; i < kVector; ++i) codes[i] = static_cast<uint8_t>(bytes[i] >> shift & mask);
    look_up(codes, levels, to + vector * kVector);
  }
  for (int vector = fields; vector < kVectors; ++vector) {
    const uint8_t *low = from + (vector - 6) * kVector, *high = from + 2 * kVector;
    for (int i = 0; i < kVector; ++i) {
      codes[i] = static_cast<uint8_t>(low[i] >> 6 | (high[i] >> vector & 1) << 2);
    }
    look_up(codes, levels, to + vector * kVector);
  }
}

template <typename Weight>
void unpack_units(const Unpack &job, Weight *to) {
  for (int64_t unit = 0; unit < job.units; ++unit) {
    unpack_unit(job.codes + unit * job.bits * kVector, job.bits, job.levels, to + unit * kUnit);
  }
}

void unpack(const Unpack &job) {
  if (job.element == 1) {
    unpack_units(job, static_cast<int8_t *>(job.weights));
  } else {
    unpack_units(job, static_cast<int16_t *>(job.weights));
  }
}

void add(const int32_t *from, int64_t count, int32_t *to) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = static_cast<int32_t>(static_cast<uint32_t>(to[i]) + static_cast<uint32_t>(from[i]));
  }
}

}  // namespace

extern const Level kPortable = {"portable", unpack, nullptr, add};

}  // namespace subbyte::conv_int4
