// Sums to y for AVX2: 32, 16 or 8 channels at a time.
#include <immintrin.h>

#include "byte_table/avx2.h"
#include "finish/level.h"

namespace subbyte::finish {
namespace {

__m256i load(const void *from) { return _mm256_load_si256(static_cast<const __m256i *>(from)); }

constexpr int kLanes = 8;

enum class Summand { kNone, kResidual, kInner };

// What is added to the sums of `job`: nothing, the residual, or that to a rounded value.
Summand summand(const Job &job) {
  if (job.output->residual == nullptr) return Summand::kNone;
  return job.output->inner_scale != 0 ? Summand::kInner : Summand::kResidual;
}

// What a finish is made with, in registers. y may alias anything, so the compiler would otherwise
// load it all again after each store.
struct Constants {
  __m256 least, most;
  __m256 residual_scale, inner_scale, inner_low, inner_high;
  __m256i zero, residual_zero;
  const uint8_t *residual;
  bool real;
};

Constants constants(const Job &job) {
  const subbyte_output &out = *job.output;
  return {_mm256_set1_ps(static_cast<float>(out.low - out.zero)),
          _mm256_set1_ps(static_cast<float>(out.high - out.zero)),
          _mm256_set1_ps(out.residual_scale),
          _mm256_set1_ps(out.inner_scale),
          _mm256_set1_ps(static_cast<float>(-out.inner_zero)),
          _mm256_set1_ps(static_cast<float>(255 - out.inner_zero)),
          _mm256_set1_epi32(out.zero),
          _mm256_set1_epi32(out.residual_zero),
          out.residual,
          job.real};
}

// sum * scale + bias (+ residual) of 8 channels, the first at element `at` of y.
template <Summand kSummand>
__m256 dequantize(const Constants &c, __m256 scale, __m256 bias, const int32_t *acc, int64_t at) {
  const __m256i sum = load(acc);
  const __m256 real = c.real ? _mm256_castsi256_ps(sum) : _mm256_cvtepi32_ps(sum);
  __m256 v = _mm256_add_ps(_mm256_mul_ps(real, scale), bias);
  if (kSummand == Summand::kNone) return v;
  if (kSummand == Summand::kInner) {
    v = _mm256_min_ps(_mm256_max_ps(v, c.inner_low), c.inner_high);
    v = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtps_epi32(v)), c.inner_scale);
  }
  const __m256i r =
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(c.residual + at)));
  const __m256i centred = _mm256_sub_epi32(r, c.residual_zero);
  return _mm256_add_ps(v, _mm256_mul_ps(_mm256_cvtepi32_ps(centred), c.residual_scale));
}

// vmaxps and vminps give their second operand if one is NaN.
__m256i quantize(const Constants &c, __m256 v) {
  v = _mm256_min_ps(_mm256_max_ps(v, c.least), c.most);
  return _mm256_add_epi32(_mm256_cvtps_epi32(v), c.zero);
}

// The packs interleave by 128-bit lanes, which the permutations undo.
template <int kVectors>
void store_bytes(const __m256i *q, uint8_t *y) {
  if constexpr (kVectors == 4) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i bytes =
        _mm256_packus_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(y), _mm256_permutevar8x32_epi32(bytes, order));
  } else {
    const __m256i words = _mm256_permute4x64_epi64(
        _mm256_packs_epi32(q[0], q[kVectors - 1]), _MM_SHUFFLE(3, 1, 2, 0));
    const __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    if (kVectors == 2) _mm_storeu_si128(reinterpret_cast<__m128i *>(y), bytes);
    if (kVectors == 1) _mm_storel_epi64(reinterpret_cast<__m128i *>(y), bytes);
  }
}

// 8 * kVectors channels of all pixels, from channel `o` of the job on, as bytes.
template <Summand kSummand, int kVectors>
void finish_bytes(const Job &job, int o) {
  const Constants c = constants(job);
  __m256 scale[kVectors], bias[kVectors];
  for (int b = 0; b < kVectors; ++b) {
    scale[b] = _mm256_loadu_ps(job.output->scale + job.channel + o + kLanes * b);
    bias[b] = _mm256_loadu_ps(job.output->bias + job.channel + o + kLanes * b);
  }
  const int32_t *acc = job.acc + o;
  int64_t at = job.y_offset + o;
  auto *const y = static_cast<uint8_t *>(job.y);
  const int64_t acc_stride = job.acc_stride, y_stride = job.y_stride;
  const int pixels = job.pixels;
  for (int pixel = 0; pixel < pixels; ++pixel, acc += acc_stride, at += y_stride) {
    __m256i q[kVectors];
    for (int b = 0; b < kVectors; ++b) {
      const int first = kLanes * b;
      q[b] = quantize(c, dequantize<kSummand>(c, scale[b], bias[b], acc + first, at + first));
    }
    store_bytes<kVectors>(q, y + at);
  }
}

template <Summand kSummand>
void finish_channels(const Job &job, int channels) {
  int o = 0;
  for (; o + 4 * kLanes <= channels; o += 4 * kLanes) finish_bytes<kSummand, 4>(job, o);
  if (o + 2 * kLanes <= channels) {
    finish_bytes<kSummand, 2>(job, o);
    o += 2 * kLanes;
  }
  if (o < channels) finish_bytes<kSummand, 1>(job, o);
}

// Floats, or the sums themselves, of `channels` channels.
template <Summand kSummand>
void finish_words(const Job &job, int channels) {
  const Constants c = constants(job);
  for (int pixel = 0; pixel < job.pixels; ++pixel) {
    for (int o = 0; o < channels; o += kLanes) {
      const int32_t *acc = job.acc + pixel * job.acc_stride + o;
      const int64_t at = job.y_offset + pixel * job.y_stride + o;
      if (job.output->type == SUBBYTE_INT32) {
        auto *y = reinterpret_cast<__m256i *>(static_cast<int32_t *>(job.y) + at);
        _mm256_storeu_si256(y, load(acc));
        continue;
      }
      const __m256 scale = _mm256_loadu_ps(job.output->scale + job.channel + o);
      const __m256 bias = _mm256_loadu_ps(job.output->bias + job.channel + o);
      _mm256_storeu_ps(static_cast<float *>(job.y) + at,
                       dequantize<kSummand>(c, scale, bias, acc, at));
    }
  }
}

template <Summand kSummand>
void finish_with(const Job &job, int channels) {
  if (job.output->type == SUBBYTE_UINT8) {
    finish_channels<kSummand>(job, channels);
  } else {
    finish_words<kSummand>(job, channels);
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
  const int whole = job.channels / kLanes * kLanes;
  switch (summand(job)) {
    case Summand::kNone:
      finish_with<Summand::kNone>(job, whole);
      break;
    case Summand::kResidual:
      finish_with<Summand::kResidual>(job, whole);
      break;
    case Summand::kInner:
      finish_with<Summand::kInner>(job, whole);
      break;
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
