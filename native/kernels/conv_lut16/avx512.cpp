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
#include "dot_products/avx512.h"

namespace subbyte::conv_lut16 {
namespace {

using dot_products::multiply_add;

// vpackssdw and vpacksswb interleave by 128-bit lanes: lane q of the result holds words
// 4q .. 4q + 3 of group 0, then those of group 1, 2 and 3. Codes say that position.
int table_lane(int j, int c) { return 16 * (c >> 2) + 4 * j + (c & 3); }
int code_lane(int o, int j) { return kVectorGroups * o + j; }

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
};

}  // namespace subbyte::conv_lut16
