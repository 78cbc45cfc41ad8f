// Look-up kernels in standard C++: for any CPU, arranged so that compilers vectorise the
// build and the finish, and that codes are read once for several pixels.
#include "conv_lut16/level.h"

namespace subbyte::conv_lut16 {
namespace {

int group_major(int j, int c) { return j * kWords + c; }
int code_lane(int o, int j) { return j * kLanes + o; }
int plain_code(int, int c) { return c; }
void build(const TableJob &job) {
  const int d = job.word_length;
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    const uint8_t *x = job.x + pixel * job.x_stride;
    uint8_t *table = job.tables + pixel * job.table_stride;
    const int8_t *word = job.codebook;
    for (int64_t group = 0; group < job.vectors * kVectorGroups; ++group) {
      int32_t sum[kWords];
      for (int c = 0; c < kWords; ++c) sum[c] = job.start[group * kWords + c];
      for (int i = 0; i < d; ++i, word += kWords) {
        for (int c = 0; c < kWords; ++c) sum[c] += word[c] * x[group * d + i];
      }
      for (int c = 0; c < kWords; ++c) {
        int32_t entry = sum[c] >> job.shift;
        entry = entry < -128 ? -128 : entry;
        entry = entry > 127 ? 127 : entry;
        table[group * kWords + c] = static_cast<uint8_t>(entry);
      }
    }
  }
}

template <bool kGain, int kPixels>
void accumulate(const Tile &tile) {
  int32_t acc[kPixels][kLanes];
  for (int p = 0; p < kPixels; ++p) {
    for (int o = 0; o < kLanes; ++o) acc[p][o] = tile.start[o];
  }
  const uint8_t *codes = tile.codes;
  const int8_t *gains = tile.gains;
  for (int64_t tap = 0; tap < tile.taps; ++tap) {
    const int64_t groups = tile.vectors * kVectorGroups;
    for (int64_t group = 0; group < groups; ++group, codes += kLanes, gains += kLanes) {
      const int8_t *table[kPixels];
      for (int p = 0; p < kPixels; ++p) {
        table[p] = reinterpret_cast<const int8_t *>(tile.tables[p]) + tile.tap_offsets[tap] +
                   group * kWords;
      }
      for (int o = 0; o < kLanes; ++o) {
        for (int p = 0; p < kPixels; ++p) {
          acc[p][o] += kGain ? gains[o] * table[p][codes[o]] : table[p][codes[o]];
        }
      }
    }
  }
  for (int p = 0; p < kPixels; ++p) {
    for (int o = 0; o < kLanes; ++o) tile.acc[p * kLanes + o] = acc[p][o];
  }
}

Accumulate choose(Gain gain, int, int pixels) {
  static constexpr Accumulate kTiles[2][4] = {
      {accumulate<false, 1>, accumulate<false, 2>, accumulate<false, 3>, accumulate<false, 4>},
      {accumulate<true, 1>, accumulate<true, 2>, accumulate<true, 3>, accumulate<true, 4>},
  };
  return kTiles[gain ? 1 : 0][pixels - 1];
}

// The value before the residual as a quantized one; rounding as in `quantize`.
void round_inner(const subbyte_output &out, int channels, float *v) {
  const float magic = 12582912.0F;
  const auto low = static_cast<float>(-out.inner_zero), high = low + 255;
  for (int o = 0; o < channels; ++o) {
    float value = v[o] > low ? v[o] : low;
    value = value < high ? value : high;
    v[o] = ((value + magic) - magic) * out.inner_scale;
  }
}

// sum * scale + bias (+ residual) of one pixel's channels.
void dequantize(const Finish &job, int pixel, float *v) {
  const subbyte_output &out = *job.output;
  const int32_t *acc = job.acc + pixel * job.acc_stride;
  const float *scale = out.scale + job.channel, *bias = out.bias + job.channel;
  if (job.real) {
    const auto *sums = reinterpret_cast<const float *>(acc);
    for (int o = 0; o < job.channels; ++o) v[o] = sums[o] * scale[o];
  } else {
    for (int o = 0; o < job.channels; ++o) v[o] = static_cast<float>(acc[o]) * scale[o];
  }
  for (int o = 0; o < job.channels; ++o) v[o] = v[o] + bias[o];
  if (out.residual == nullptr) return;
  if (out.inner_scale != 0) round_inner(out, job.channels, v);
  const uint8_t *r = out.residual + job.y_offset + pixel * job.y_stride;
  for (int o = 0; o < job.channels; ++o) {
    const float product = static_cast<float>(r[o] - out.residual_zero) * out.residual_scale;
    v[o] = v[o] + product;
  }
}

// Rounds half to even by adding 1.5 * 2^23, which leaves no fraction bits: exact within 2^22,
// and the values are clamped to a few hundred first. NaN becomes low.
void quantize(const subbyte_output &out, int channels, const float *v, uint8_t *y) {
  const float magic = 12582912.0F;
  const auto low = static_cast<float>(out.low - out.zero);
  const auto high = static_cast<float>(out.high - out.zero);
  for (int o = 0; o < channels; ++o) {
    float value = v[o] > low ? v[o] : low;
    value = value < high ? value : high;
    value = (value + magic) - magic;
    y[o] = static_cast<uint8_t>(static_cast<int32_t>(value) + out.zero);
  }
}

void finish(const Finish &job) {
  const subbyte_output &out = *job.output;
  for (int pixel = 0; pixel < job.pixels; ++pixel) {
    const int64_t at = job.y_offset + pixel * job.y_stride;
    if (out.type == SUBBYTE_INT32) {
      int32_t *y = static_cast<int32_t *>(job.y) + at;
      for (int o = 0; o < job.channels; ++o) y[o] = job.acc[pixel * job.acc_stride + o];
      continue;
    }
    float v[kMaxBlocks * kLanes];
    dequantize(job, pixel, v);
    if (out.type == SUBBYTE_FLOAT) {
      float *y = static_cast<float *>(job.y) + at;
      for (int o = 0; o < job.channels; ++o) y[o] = v[o];
    } else {
      quantize(out, job.channels, v, static_cast<uint8_t *>(job.y) + at);
    }
  }
}

}  // namespace

extern const Level kPortable = {
    "portable",
    1,
    1,
    0,
    {{4, 0, 0, 0}, {4, 0, 0, 0}},
    {false, false},
    group_major,
    code_lane,
    code_lane,
    plain_code,
    build,
    choose,
    finish,
};

}  // namespace subbyte::conv_lut16
