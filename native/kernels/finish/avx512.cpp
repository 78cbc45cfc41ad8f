// Sums to y for AVX-512: 64 channels at a time.
#include <immintrin.h>

#include "byte_table/avx512.h"
#include "finish/level.h"

namespace subbyte::finish {
namespace {

constexpr int kLanes = 16, kMaxBlocks = kMaxChannels / kLanes;

// What a finish is made with, in registers. y may alias anything, so the compiler would
// otherwise load it all again after each store.
struct Constants {
  __m512 residual_scale, high;
  __m512 inner_scale, inner_low, inner_high;
  __m512i residual_zero, zero, low;
  const uint8_t *residual;
  bool real;
};

Constants constants(const Job &job) {
  const subbyte_output &out = *job.output;
  return {_mm512_set1_ps(out.residual_scale),
          _mm512_set1_ps(static_cast<float>(out.high - out.zero)),
          _mm512_set1_ps(out.inner_scale),
          _mm512_set1_ps(static_cast<float>(-out.inner_zero)),
          _mm512_set1_ps(static_cast<float>(255 - out.inner_zero)),
          _mm512_set1_epi32(out.residual_zero),
          _mm512_set1_epi16(static_cast<int16_t>(out.zero)),
          _mm512_set1_epi8(static_cast<char>(out.low)),
          out.residual,
          job.real};
}

__mmask16 lanes(int channels) {
  if (channels <= 0) return 0;
  return static_cast<__mmask16>(channels >= kLanes ? 0xFFFF : (1 << channels) - 1);
}

// 16 channels: those of `mask` exist.
struct Channels {
  __m512 scale, bias;
  __mmask16 mask;
};

Channels load_channels(const Job &job, int first) {
  const __mmask16 mask = lanes(job.channels - first);
  return {_mm512_maskz_loadu_ps(mask, job.output->scale + job.channel + first),
          _mm512_maskz_loadu_ps(mask, job.output->bias + job.channel + first), mask};
}

// sum * scale + bias (+ residual) of 16 channels of a pixel, the first at element `at` of y.
enum class Summand { kNone, kResidual, kInner };

// What of `job` is added to its sums: nothing, the residual, or that to a rounded value.
Summand summand(const Job &job) {
  if (job.output->residual == nullptr) return Summand::kNone;
  return job.output->inner_scale != 0 ? Summand::kInner : Summand::kResidual;
}

template <Summand kSummand>
__m512 dequantize(const Constants &c, const Channels &channels, const int32_t *acc, int64_t at) {
  const __m512i sum = _mm512_load_si512(acc);
  const __m512 real = c.real ? _mm512_castsi512_ps(sum) : _mm512_cvtepi32_ps(sum);
  __m512 v = _mm512_mul_ps(real, channels.scale);
  v = _mm512_add_ps(v, channels.bias);
  if (kSummand == Summand::kInner) {
    // The bounds come first: vmaxps and vminps give their second operand if one is NaN.
    v = _mm512_min_ps(_mm512_max_ps(v, c.inner_low), c.inner_high);
    v = _mm512_mul_ps(_mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT), c.inner_scale);
  }
  if (kSummand != Summand::kNone) {
    const __m128i bytes = _mm_maskz_loadu_epi8(channels.mask, c.residual + at);
    const __m512i centred = _mm512_sub_epi32(_mm512_cvtepu8_epi32(bytes), c.residual_zero);
    v = _mm512_add_ps(v, _mm512_mul_ps(_mm512_cvtepi32_ps(centred), c.residual_scale));
  }
  return v;
}

// 64 values as bytes. Only the upper bound is set in float: the conversion gives the least
// integer for what is too small (and for NaN, which vminps leaves when it comes second), and
// the packs saturate. They interleave by 128-bit lanes, which the last permutation undoes.
__m512i quantize(const Constants &c, const __m512 v[kMaxBlocks]) {
  __m512i q[kMaxBlocks];
  for (int b = 0; b < kMaxBlocks; ++b) q[b] = _mm512_cvtps_epi32(_mm512_min_ps(c.high, v[b]));
  const __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(q[0], q[1]), c.zero);
  const __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(q[2], q[3]), c.zero);
  const __m512i bytes = _mm512_max_epu8(_mm512_packus_epi16(low, high), c.low);
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, bytes);
}

// kBlocks: of channels. kWhole: all channels of them exist, for masked stores of bytes are slow.
template <Summand kSummand, int kBlocks, bool kWhole, bool kTable>
void finish_uint8(const Job &job) {
  const Constants c = constants(job);
  byte_table::Table table = {};
  if (kTable) table = byte_table::load(job.output->table);
  Channels channels[kBlocks];
  for (int b = 0; b < kBlocks; ++b) channels[b] = load_channels(job, b * kLanes);
  const __mmask64 mask = ~__mmask64{0} >> (kMaxChannels - job.channels);
  const int32_t *acc = job.acc;
  const int64_t acc_stride = job.acc_stride, y_stride = job.y_stride;
  const int pixels = job.pixels;
  int64_t at = job.y_offset;
  auto *const y = static_cast<uint8_t *>(job.y);
  for (int pixel = 0; pixel < pixels; ++pixel, acc += acc_stride, at += y_stride) {
    __m512 v[kMaxBlocks];
    for (int b = kBlocks; b < kMaxBlocks; ++b) v[b] = _mm512_setzero_ps();
    for (int b = 0; b < kBlocks; ++b) {
      // Beyond the last channel this reads anything; the mask keeps it from y.
      v[b] = dequantize<kSummand>(c, channels[b], acc + b * kLanes, at + b * kLanes);
    }
    __m512i bytes = quantize(c, v);
    if (kTable) bytes = byte_table::look_up(table, bytes);
    if (!kWhole) {
      _mm512_mask_storeu_epi8(y + at, mask, bytes);
      continue;
    }
    if (kBlocks == 4) _mm512_storeu_si512(y + at, bytes);
    const __m256i low = _mm512_castsi512_si256(bytes);
    if (kBlocks == 2 || kBlocks == 3) {
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(y + at), low);
    }
    const __m128i last =
        kBlocks == 1 ? _mm256_castsi256_si128(low) : _mm512_extracti32x4_epi32(bytes, 2);
    if (kBlocks == 1 || kBlocks == 3) {
      _mm_storeu_si128(reinterpret_cast<__m128i *>(y + at + (kBlocks - 1) * kLanes), last);
    }
  }
}

template <Summand kSummand>
void finish_words(const Job &job) {
  const Constants c = constants(job);
  for (int o = 0; o < job.channels; o += kLanes) {
    Channels channels = {_mm512_setzero_ps(), _mm512_setzero_ps(), lanes(job.channels - o)};
    if (job.output->type == SUBBYTE_FLOAT) channels = load_channels(job, o);
    for (int pixel = 0; pixel < job.pixels; ++pixel) {
      const int32_t *acc = job.acc + pixel * job.acc_stride + o;
      const int64_t at = job.y_offset + pixel * job.y_stride + o;
      if (job.output->type == SUBBYTE_INT32) {
        _mm512_mask_storeu_epi32(static_cast<int32_t *>(job.y) + at, channels.mask,
                                 _mm512_load_si512(acc));
        continue;
      }
      const __m512 v = dequantize<kSummand>(c, channels, acc, at);
      _mm512_mask_storeu_ps(static_cast<float *>(job.y) + at, channels.mask, v);
    }
  }
}

template <Summand kSummand, bool kTable>
void finish_bytes(const Job &job) {
  using Finish = void (*)(const Job &);
  static constexpr Finish kFinish[kMaxBlocks][2] = {
      {finish_uint8<kSummand, 1, false, kTable>, finish_uint8<kSummand, 1, true, kTable>},
      {finish_uint8<kSummand, 2, false, kTable>, finish_uint8<kSummand, 2, true, kTable>},
      {finish_uint8<kSummand, 3, false, kTable>, finish_uint8<kSummand, 3, true, kTable>},
      {finish_uint8<kSummand, 4, false, kTable>, finish_uint8<kSummand, 4, true, kTable>}};
  kFinish[(job.channels - 1) / kLanes][job.channels % kLanes == 0](job);
}

template <Summand kSummand>
void finish_with(const Job &job) {
  if (job.output->type != SUBBYTE_UINT8) return finish_words<kSummand>(job);
  if (job.output->table == nullptr) return finish_bytes<kSummand, false>(job);
  finish_bytes<kSummand, true>(job);
}

void run(const Job &job) {
  switch (summand(job)) {
    case Summand::kNone:
      return finish_with<Summand::kNone>(job);
    case Summand::kResidual:
      return finish_with<Summand::kResidual>(job);
    case Summand::kInner:
      return finish_with<Summand::kInner>(job);
  }
}

}  // namespace

extern const Level kAvx512 = {"avx512", run};

}  // namespace subbyte::finish
