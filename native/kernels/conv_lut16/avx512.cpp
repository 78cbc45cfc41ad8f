// Look-up kernels for AVX-512 with VNNI and VBMI.
//
// One 64-byte table vector holds the entries of 4 groups; one `vpermb` looks up the codes of
// 4 groups x 16 outputs in it, one `vpdpbusd` adds each output's 4 bytes to its int32 sum.
//
// vpdpbusd multiplies unsigned by signed bytes. Without gain the unsigned side is 1 and the
// entries are signed. With gain the entries are the unsigned side: they are stored + 128, and
// the sums start at -128 * sum(gain). Its four 16-bit products (at most 255 * 64) are added
// in 32 bits, without saturation.
#include <immintrin.h>

#include "conv_lut16/level.h"

namespace subbyte::conv_lut16 {
namespace {

// vpackssdw and vpacksswb interleave by 128-bit lanes: lane q of the result holds words
// 4q .. 4q + 3 of group 0, then those of group 1, 2 and 3. Codes say that position.
int table_lane(int j, int c) { return 16 * (c >> 2) + 4 * j + (c & 3); }
int code_lane(int o, int j) { return kVectorGroups * o + j; }

// sum + a * b by four unsigned and signed bytes each. GCC 12 copies the sum of its intrinsic
// through a second register, and here through memory.
__m512i multiply_add(__m512i sum, __m512i a, __m512i b) {
#if defined(__clang__)
  return _mm512_dpbusd_epi32(sum, a, b);
#else
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
#endif
}

__m512i broadcast4(const uint8_t *x) {
  int32_t value;
  __builtin_memcpy(&value, x, sizeof value);
  return _mm512_set1_epi32(value);
}

// Tables of kPixels pixels: each word's inner product by chunks of 4 bytes (a shorter word
// ends in zeros), which the codebook's limits keep within int16, then shift and pack.
template <int kChunks, int kPixels>
void build_pixels(const TableJob &job, const uint8_t *x, uint8_t *tables) {
  const __m128i shift = _mm_cvtsi32_si128(job.shift);
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(job.flip));
  const int8_t *codebook = job.codebook;
  const int16_t *start = job.start;
  for (int64_t vector = 0; vector < job.vectors; ++vector) {
    __m512i sum[kPixels][kVectorGroups];
    for (int j = 0; j < kVectorGroups; ++j) {
      const __m512i first = _mm512_cvtepi16_epi32(_mm256_load_si256(
          reinterpret_cast<const __m256i *>(start + j * kWords)));
      for (int p = 0; p < kPixels; ++p) sum[p][j] = first;
      for (int e = 0; e < kChunks; ++e) {
        const __m512i words = _mm512_load_si512(codebook);
        codebook += 64;
        for (int p = 0; p < kPixels; ++p) {
          const __m512i value = broadcast4(x + p * job.x_stride + j * job.word_length + 4 * e);
          sum[p][j] = multiply_add(sum[p][j], value, words);
        }
      }
    }
    for (int p = 0; p < kPixels; ++p) {
      const __m512i low = _mm512_sra_epi16(_mm512_packs_epi32(sum[p][0], sum[p][1]), shift);
      const __m512i high = _mm512_sra_epi16(_mm512_packs_epi32(sum[p][2], sum[p][3]), shift);
      _mm512_store_si512(tables + p * job.table_stride + vector * kVectorBytes,
                         _mm512_xor_si512(_mm512_packs_epi16(low, high), flip));
    }
    x += kVectorGroups * job.word_length;
    start += kVectorGroups * kWords;
  }
}

template <int kChunks>
void build_chunks(const TableJob &job) {
  int64_t pixel = 0;
  for (; pixel + 4 <= job.count; pixel += 4) {
    build_pixels<kChunks, 4>(job, job.x + pixel * job.x_stride,
                             job.tables + pixel * job.table_stride);
  }
  for (; pixel < job.count; ++pixel) {
    build_pixels<kChunks, 1>(job, job.x + pixel * job.x_stride,
                             job.tables + pixel * job.table_stride);
  }
}

void build(const TableJob &job) {
  static constexpr void (*kBuild[])(const TableJob &) = {build_chunks<1>, build_chunks<2>,
                                                  build_chunks<3>, build_chunks<4>};
  kBuild[job.chunks - 1](job);
}

// Taps and vectors are at least one, and the loops say so: the sums stay in registers.
template <bool kGain, int kBlocks, int kPixels>
void accumulate(const Tile &tile) {
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i acc[kPixels][kBlocks];
  for (int p = 0; p < kPixels; ++p) {
    for (int b = 0; b < kBlocks; ++b) acc[p][b] = _mm512_load_si512(tile.start + b * kLanes);
  }
  const uint8_t *codes = tile.codes;
  const int8_t *gains = tile.gains;
  const ptrdiff_t *tap_offset = tile.tap_offsets;
  const ptrdiff_t *const last_tap = tap_offset + tile.taps;
  const int64_t bytes = tile.vectors * kVectorBytes;
  do {
    const uint8_t *tables[kPixels];
    for (int p = 0; p < kPixels; ++p) tables[p] = tile.tables[p] + *tap_offset;
    int64_t at = 0;
    do {
      __m512i code[kBlocks], gain[kBlocks];
      for (int b = 0; b < kBlocks; ++b) {
        code[b] = _mm512_load_si512(codes + b * kVectorBytes);
        gain[b] = kGain ? _mm512_load_si512(gains + b * kVectorBytes) : ones;
      }
      codes += kBlocks * kVectorBytes;
      gains += kGain ? kBlocks * kVectorBytes : 0;
      for (int p = 0; p < kPixels; ++p) {
        const __m512i table = _mm512_load_si512(tables[p] + at);
        for (int b = 0; b < kBlocks; ++b) {
          const __m512i entry = _mm512_permutexvar_epi8(code[b], table);
          acc[p][b] = kGain ? multiply_add(acc[p][b], entry, gain[b])
                            : multiply_add(acc[p][b], ones, entry);
        }
      }
      at += kVectorBytes;
    } while (at != bytes);
  } while (++tap_offset != last_tap);
  for (int p = 0; p < kPixels; ++p) {
    for (int b = 0; b < kBlocks; ++b) {
      _mm512_store_si512(tile.acc + (p * kBlocks + b) * kLanes, acc[p][b]);
    }
  }
}

// The most pixels: 32 registers hold pixels * blocks sums, the codes (and gains) of the
// blocks, a table, an entry and the ones.
template <bool kGain>
Accumulate choose_tile(int blocks, int pixels) {
  static constexpr Accumulate kTiles[kMaxBlocks][kMaxPixels] = {
      {accumulate<kGain, 1, 1>, accumulate<kGain, 1, 2>, accumulate<kGain, 1, 3>,
       accumulate<kGain, 1, 4>, accumulate<kGain, 1, 5>, accumulate<kGain, 1, 6>,
       accumulate<kGain, 1, 7>, accumulate<kGain, 1, 8>},
      {accumulate<kGain, 2, 1>, accumulate<kGain, 2, 2>, accumulate<kGain, 2, 3>,
       accumulate<kGain, 2, 4>, accumulate<kGain, 2, 5>, accumulate<kGain, 2, 6>,
       accumulate<kGain, 2, 7>, accumulate<kGain, 2, 8>},
      {accumulate<kGain, 3, 1>, accumulate<kGain, 3, 2>, accumulate<kGain, 3, 3>,
       accumulate<kGain, 3, 4>, accumulate<kGain, 3, 5>, accumulate<kGain, 3, 6>},
      {accumulate<kGain, 4, 1>, accumulate<kGain, 4, 2>, accumulate<kGain, 4, 3>,
       accumulate<kGain, 4, 4>, accumulate<kGain, 4, 5>, accumulate<kGain, 4, 6>},
  };
  return kTiles[blocks - 1][pixels - 1];
}

Accumulate choose(Gain gain, int blocks, int pixels) {
  return gain != kNoGain ? choose_tile<true>(blocks, pixels) : choose_tile<false>(blocks, pixels);
}

// What a finish is made with, in registers. y may alias anything, so the compiler would
// otherwise load it all again after each store.
struct Constants {
  __m512 residual_scale, high;
  __m512 inner_scale, inner_low, inner_high;
  __m512i residual_zero, zero, low;
  const uint8_t *residual;
  bool real;
};

Constants constants(const Finish &job) {
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

Channels load_channels(const Finish &job, int first) {
  const __mmask16 mask = lanes(job.channels - first);
  return {_mm512_maskz_loadu_ps(mask, job.output->scale + job.channel + first),
          _mm512_maskz_loadu_ps(mask, job.output->bias + job.channel + first), mask};
}

// sum * scale + bias (+ residual) of 16 channels of a pixel, the first at element `at` of y.
enum class Summand { kNone, kResidual, kInner };

// What of `job` is added to its sums: nothing, the residual, or that to a rounded value.
Summand summand(const Finish &job) {
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
  const __m512i order =
      _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, bytes);
}

// kWhole: blocks of which all channels exist, 4 or 2, for masked stores of bytes are slow; or 0.
template <Summand kSummand, int kWhole>
void finish_uint8(const Finish &job) {
  constexpr int kBlocks = kWhole == 0 ? kMaxBlocks : kWhole;
  const Constants c = constants(job);
  Channels channels[kBlocks];
  for (int b = 0; b < kBlocks; ++b) channels[b] = load_channels(job, b * kLanes);
  const __mmask64 mask = ~__mmask64{0} >> (kMaxBlocks * kLanes - job.channels);
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
    const __m512i bytes = quantize(c, v);
    if (kWhole == 4) {
      _mm512_storeu_si512(y + at, bytes);
    } else if (kWhole == 2) {
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(y + at), _mm512_castsi512_si256(bytes));
    } else {
      _mm512_mask_storeu_epi8(y + at, mask, bytes);
    }
  }
}

template <Summand kSummand>
void finish_words(const Finish &job) {
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

template <Summand kSummand>
void finish_with(const Finish &job) {
  if (job.output->type != SUBBYTE_UINT8) return finish_words<kSummand>(job);
  if (job.channels == kMaxBlocks * kLanes) return finish_uint8<kSummand, 4>(job);
  if (job.channels == 2 * kLanes) return finish_uint8<kSummand, 2>(job);
  finish_uint8<kSummand, 0>(job);
}

void finish(const Finish &job) {
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

extern const Level kAvx512 = {
    "avx512",
    4,
    4,
    0,
    {{8, 8, 6, 6}, {8, 8, 6, 5}},
    {false, true},
    table_lane,
    code_lane,
    code_lane,
    table_lane,
    build,
    choose,
    finish,
};

}  // namespace subbyte::conv_lut16
