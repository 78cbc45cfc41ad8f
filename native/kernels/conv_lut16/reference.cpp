// The look-up kernels as plain loops: what every other level must equal, bit for bit.
#include "conv_lut16/level.h"

namespace subbyte::conv_lut16 {
namespace {

int group_major(int j, int c) { return j * kWords + c; }
int output_major(int o, int j) { return o * kVectorGroups + j; }
int plain_code(int, int c) { return c; }
void build(const TableJob &job) {
  const int d = job.word_length;
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    const uint8_t *x = job.x + pixel * job.x_stride;
    uint8_t *table = job.tables + pixel * job.table_stride;
    for (int64_t group = 0; group < job.vectors * kVectorGroups; ++group) {
      for (int c = 0; c < kWords; ++c) {
        int32_t sum = job.start[group * kWords + c];
        for (int i = 0; i < d; ++i) {
          sum += job.codebook[(group * d + i) * kWords + c] * x[group * d + i];
        }
        int32_t entry = sum >> job.shift;
        entry = entry < -128 ? -128 : entry > 127 ? 127 : entry;
        table[group * kWords + c] = static_cast<uint8_t>(entry) ^ job.flip;
      }
    }
  }
}

template <bool kGain>
void accumulate(const Tile &tile) {
  for (int o = 0; o < kLanes; ++o) tile.acc[o] = tile.start[o];
  for (int64_t tap = 0; tap < tile.taps; ++tap) {
    const uint8_t *table = tile.tables[0] + tile.tap_offsets[tap];
    for (int64_t vector = 0; vector < tile.vectors; ++vector) {
      const int64_t base = (tap * tile.vectors + vector) * kVectorBytes;
      for (int o = 0; o < kLanes; ++o) {
        for (int j = 0; j < kVectorGroups; ++j) {
          const int64_t at = base + output_major(o, j);
          const int code = tile.codes[at];
          const auto entry =
              static_cast<int8_t>(table[vector * kVectorBytes + group_major(j, code)]);
          tile.acc[o] += (kGain ? tile.gains[at] : 1) * entry;
        }
      }
    }
  }
}

Accumulate choose(Gain gain, int, int) { return gain != kNoGain ? accumulate<true> : accumulate<false>; }

// Round half to even: adding 1.5 * 2^23 leaves no fraction bits. Exact for |v| < 2^22.
float round_even(float v) {
  const float magic = 12582912.0F;
  return (v + magic) - magic;
}

void finish(const Finish &job) {
  const subbyte_output &out = *job.output;
  const auto low = static_cast<float>(out.low - out.zero);
  const auto high = static_cast<float>(out.high - out.zero);
  for (int pixel = 0; pixel < job.pixels; ++pixel) {
    for (int o = 0; o < job.channels; ++o) {
      const int32_t *acc = job.acc + pixel * job.acc_stride + o;
      const int64_t at = job.y_offset + pixel * job.y_stride + o;
      if (out.type == SUBBYTE_INT32) {
        static_cast<int32_t *>(job.y)[at] = *acc;
        continue;
      }
      float v = job.real ? *reinterpret_cast<const float *>(acc) : static_cast<float>(*acc);
      v = v * out.scale[job.channel + o];
      v = v + out.bias[job.channel + o];
      if (out.residual != nullptr) {
        if (out.inner_scale != 0) {
          const auto inner = static_cast<float>(-out.inner_zero);
          v = v > inner ? v : inner;
          v = v < inner + 255 ? v : inner + 255;
          v = round_even(v) * out.inner_scale;
        }
        v = v + static_cast<float>(out.residual[at] - out.residual_zero) * out.residual_scale;
      }
      if (out.type == SUBBYTE_FLOAT) {
        static_cast<float *>(job.y)[at] = v;
        continue;
      }
      // The bounds are integers, so clamping first is the same, and no value is too large
      // to convert; in this form NaN becomes low.
      v = v > low ? v : low;
      v = v < high ? v : high;
      static_cast<uint8_t *>(job.y)[at] =
          static_cast<uint8_t>(static_cast<int32_t>(round_even(v)) + out.zero);
    }
  }
}

}  // namespace

extern const Level kReference = {
    "reference",
    1,
    1,
    0,
    {{1, 0, 0, 0}, {1, 0, 0, 0}},
    {false, false},
    group_major,
    output_major,
    output_major,
    plain_code,
    build,
    choose,
    finish,
};

}  // namespace subbyte::conv_lut16
