// Sums to y as plain loops: what every other level must equal, bit for bit.
#include "finish/level.h"

namespace subbyte::finish {
namespace {

// Round half to even: adding 1.5 * 2^23 leaves no fraction bits. Exact for |v| < 2^22.
float round_even(float v) {
  const float magic = 12582912.0F;
  return (v + magic) - magic;
}

void run(const Job &job) {
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
      const auto code = static_cast<uint8_t>(static_cast<int32_t>(round_even(v)) + out.zero);
      static_cast<uint8_t *>(job.y)[at] = out.table == nullptr ? code : out.table[code];
    }
  }
}

}  // namespace

extern const Level kReference = {"reference", run};

}  // namespace subbyte::finish
