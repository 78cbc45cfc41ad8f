// Sums to y in standard C++: compilers vectorise the loops over channels.
#include "finish/level.h"

namespace subbyte::finish {
namespace {

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
void dequantize(const Job &job, int pixel, float *v) {
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
  if (out.table == nullptr) return;
  for (int o = 0; o < channels; ++o) y[o] = out.table[y[o]];
}

void run(const Job &job) {
  const subbyte_output &out = *job.output;
  for (int pixel = 0; pixel < job.pixels; ++pixel) {
    const int64_t at = job.y_offset + pixel * job.y_stride;
    if (out.type == SUBBYTE_INT32) {
      int32_t *y = static_cast<int32_t *>(job.y) + at;
      for (int o = 0; o < job.channels; ++o) y[o] = job.acc[pixel * job.acc_stride + o];
      continue;
    }
    float v[kMaxChannels];
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

extern const Level kPortable = {"portable", run};

}  // namespace subbyte::finish
