// Sums to y for AVX2: 32 or 8 channels at a time.
#include <immintrin.h>

#include "byte_table/avx2.h"
#include "finish/level.h"

namespace subbyte::finish {
namespace {

__m256i load(const void *from) { return _mm256_load_si256(static_cast<const __m256i *>(from)); }

// sum * scale + bias (+ residual) of 8 channels.
__m256 dequantize(const Job &job, const int32_t *acc, int64_t channel, int64_t at) {
  const subbyte_output &out = *job.output;
  const __m256i sum = load(acc);
  const __m256 real = job.real ? _mm256_castsi256_ps(sum) : _mm256_cvtepi32_ps(sum);
  __m256 v = _mm256_mul_ps(real, _mm256_loadu_ps(out.scale + channel));
  v = _mm256_add_ps(v, _mm256_loadu_ps(out.bias + channel));
  if (out.residual == nullptr) return v;
  if (out.inner_scale != 0) {
    const auto low = static_cast<float>(-out.inner_zero);
    v = _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(low)), _mm256_set1_ps(low + 255));
    v = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtps_epi32(v)), _mm256_set1_ps(out.inner_scale));
  }
  const __m256i r =
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(out.residual + at)));
  const __m256i centred = _mm256_sub_epi32(r, _mm256_set1_epi32(out.residual_zero));
  return _mm256_add_ps(
      v, _mm256_mul_ps(_mm256_cvtepi32_ps(centred), _mm256_set1_ps(out.residual_scale)));
}

// vmaxps and vminps give their second operand if one is NaN.
__m128i quantize(const subbyte_output &out, __m256 v) {
  v = _mm256_max_ps(v, _mm256_set1_ps(static_cast<float>(out.low - out.zero)));
  v = _mm256_min_ps(v, _mm256_set1_ps(static_cast<float>(out.high - out.zero)));
  const __m256i q = _mm256_add_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(out.zero));
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
  return _mm_packus_epi16(words, words);
}

// 8 channels of one pixel, the first at element `at` of y and `channel` of scale and bias.
void finish_8(const Job &job, const int32_t *acc, int64_t channel, int64_t at) {
  if (job.output->type == SUBBYTE_INT32) {
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(static_cast<int32_t *>(job.y) + at), load(acc));
    return;
  }
  const __m256 v = dequantize(job, acc, channel, at);
  if (job.output->type == SUBBYTE_FLOAT) {
    _mm256_storeu_ps(static_cast<float *>(job.y) + at, v);
  } else {
    _mm_storel_epi64(reinterpret_cast<__m128i *>(static_cast<uint8_t *>(job.y) + at),
                     quantize(*job.output, v));
  }
}

// The same for 32 channels of all pixels, as bytes and without a residual: what does not change
// stays in registers. (y may alias anything: finish_8 loads it all again after each store.)
void finish_32(const Job &job, int o) {
  const subbyte_output &out = *job.output;
  const bool real = job.real;
  const __m256 least = _mm256_set1_ps(static_cast<float>(out.low - out.zero));
  const __m256 most = _mm256_set1_ps(static_cast<float>(out.high - out.zero));
  const __m256i zero = _mm256_set1_epi32(out.zero);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  __m256 scale[4], bias[4];
  for (int b = 0; b < 4; ++b) {
    scale[b] = _mm256_loadu_ps(out.scale + job.channel + o + 8 * b);
    bias[b] = _mm256_loadu_ps(out.bias + job.channel + o + 8 * b);
  }
  const int32_t *acc = job.acc + o;
  auto *y = static_cast<uint8_t *>(job.y) + job.y_offset + o;
  const int64_t acc_stride = job.acc_stride, y_stride = job.y_stride;
  const int pixels = job.pixels;
  for (int pixel = 0; pixel < pixels; ++pixel, acc += acc_stride, y += y_stride) {
    __m256i q[4];
    for (int b = 0; b < 4; ++b) {
      const __m256i sum = load(acc + 8 * b);
      const __m256 from = real ? _mm256_castsi256_ps(sum) : _mm256_cvtepi32_ps(sum);
      const __m256 v = _mm256_add_ps(_mm256_mul_ps(from, scale[b]), bias[b]);
      const __m256 within = _mm256_min_ps(_mm256_max_ps(v, least), most);
      q[b] = _mm256_add_epi32(_mm256_cvtps_epi32(within), zero);
    }
    const __m256i bytes =
        _mm256_packus_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(y), _mm256_permutevar8x32_epi32(bytes, order));
  }
}

// The first `channels` of all pixels, in place.
void apply_table(const Job &job, int channels) {
  const uint8_t *bytes = job.output->table;
  const byte_table::Table table = byte_table::load(bytes);
  auto *y = static_cast<uint8_t *>(job.y) + job.y_offset;
  for (int pixel = 0; pixel < job.pixels; ++pixel, y += job.y_stride) {
    byte_table::map(bytes, table, y, channels, y);
  }
}

void run(const Job &job) {
  const int whole = job.channels / 8 * 8;
  int first = 0;
  if (job.output->type == SUBBYTE_UINT8 && job.output->residual == nullptr) {
    for (; first + 32 <= whole; first += 32) finish_32(job, first);
  }
  for (int pixel = 0; pixel < job.pixels; ++pixel) {
    for (int o = first; o < whole; o += 8) {
      finish_8(job, job.acc + pixel * job.acc_stride + o, job.channel + o,
               job.y_offset + pixel * job.y_stride + o);
    }
  }
  if (job.output->table != nullptr && whole > 0) apply_table(job, whole);
  if (whole == job.channels) return;
  Job rest = job;
  rest.acc += whole;
  rest.channels -= whole;
  rest.channel += whole;
  rest.y_offset += whole;
  kPortable.run(rest);
}

}  // namespace

extern const Level SUBBYTE_LEVEL = {SUBBYTE_LEVEL_NAME, run};

}  // namespace subbyte::finish
