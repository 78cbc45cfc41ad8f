// int8 kernels for AVX-512 with VNNI: vpdpbusd, four channels times sixteen outputs.
#include <immintrin.h>

#include <cstring>

#include "conv_int8/level.h"

namespace subbyte::conv_int8 {
namespace {

__m512i broadcast_quad(const uint8_t *x) {
  int32_t quad;
  std::memcpy(&quad, x, sizeof quad);
  return _mm512_set1_epi32(quad);
}

template <int kPixels, int kBlocks>
void accumulate(const Tile &tile) {
  __m512i acc[kPixels][kBlocks];
  for (int p = 0; p < kPixels; ++p) {
    for (int b = 0; b < kBlocks; ++b) acc[p][b] = _mm512_loadu_si512(tile.start + b * kLanes);
  }
  const auto *weights = static_cast<const __m512i *>(tile.weights);
  const int64_t taps = tile.taps, steps = tile.steps;
  for (int64_t tap = 0; tap < taps; ++tap) {
    const ptrdiff_t offset = tile.tap_offsets[tap];
    const uint8_t *x[kPixels];
    for (int p = 0; p < kPixels; ++p) x[p] = tile.pixels[p] + offset;
    for (int64_t step = 0; step < steps; ++step, weights += kBlocks) {
      __m512i w[kBlocks];
      for (int b = 0; b < kBlocks; ++b) w[b] = _mm512_load_si512(weights + b);
      for (int p = 0; p < kPixels; ++p) {
        const __m512i quad = broadcast_quad(x[p] + 4 * step);
        for (int b = 0; b < kBlocks; ++b) acc[p][b] = _mm512_dpbusd_epi32(acc[p][b], quad, w[b]);
      }
    }
  }
  for (int p = 0; p < kPixels; ++p) {
    for (int b = 0; b < kBlocks; ++b) {
      _mm512_store_si512(tile.acc + (p * kBlocks + b) * kLanes, acc[p][b]);
    }
  }
}

template <int kBlocks>
Accumulate tile_of(int pixels) {
  static constexpr Accumulate kTiles[kMaxPixels] = {
      accumulate<1, kBlocks>,
      accumulate<2, kBlocks>,
      accumulate<3, kBlocks>,
      accumulate<4, kBlocks>,
      accumulate<5, kBlocks>,
      accumulate<6, kBlocks>,
      kBlocks < 4 ? accumulate<7, kBlocks> : nullptr,
      kBlocks < 4 ? accumulate<8, kBlocks> : nullptr,
      kBlocks < 3 ? accumulate<9, kBlocks> : nullptr,
      kBlocks < 3 ? accumulate<10, kBlocks> : nullptr,
      kBlocks < 3 ? accumulate<11, kBlocks> : nullptr,
      kBlocks < 3 ? accumulate<12, kBlocks> : nullptr,
  };
  return kTiles[pixels - 1];
}

Accumulate choose(int blocks, int pixels) {
  switch (blocks) {
    case 1:
      return tile_of<1>(pixels);
    case 2:
      return tile_of<2>(pixels);
    case 3:
      return tile_of<3>(pixels);
    default:
      return tile_of<4>(pixels);
  }
}

__m512i widen(const uint8_t *x) {
  return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(x)));
}

// Unpacking interleaves by 128-bit lanes: these permutations bring the 32 sums back to order.
void store_sums(const Depthwise &job, int pixel, __m512i low, __m512i high) {
  const __m512i order = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
  const __m512i rest = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  int32_t *acc = job.acc + pixel * kChannels;
  const __m512i first = _mm512_permutex2var_epi64(low, order, high);
  const __m512i second = _mm512_permutex2var_epi64(low, rest, high);
  _mm512_store_si512(acc, _mm512_add_epi32(first, _mm512_loadu_si512(job.start)));
  _mm512_store_si512(acc + 16, _mm512_add_epi32(second, _mm512_loadu_si512(job.start + 16)));
}

// Products of two taps at a time.
template <int kPixels>
void depthwise_tile(const Depthwise &job, int pixel) {
  __m512i low[kPixels], high[kPixels];
  for (int p = 0; p < kPixels; ++p) low[p] = high[p] = _mm512_setzero_si512();
  const uint8_t *x = job.x + pixel * job.pixel_stride;
  for (int64_t tap = 0; tap < job.taps; tap += 2) {
    const int16_t *weights = job.weights + tap * job.weight_stride;
    const __m512i w0 = _mm512_loadu_si512(weights);
    const __m512i w1 = _mm512_loadu_si512(weights + job.weight_stride);
    const __m512i w_low = _mm512_unpacklo_epi16(w0, w1), w_high = _mm512_unpackhi_epi16(w0, w1);
    for (int p = 0; p < kPixels; ++p) {
      const uint8_t *at = x + p * job.pixel_stride;
      const __m512i x0 = widen(at + job.tap_offsets[tap]);
      const __m512i x1 = widen(at + job.tap_offsets[tap + 1]);
      low[p] = _mm512_dpwssd_epi32(low[p], _mm512_unpacklo_epi16(x0, x1), w_low);
      high[p] = _mm512_dpwssd_epi32(high[p], _mm512_unpackhi_epi16(x0, x1), w_high);
    }
  }
  for (int p = 0; p < kPixels; ++p) store_sums(job, pixel + p, low[p], high[p]);
}

constexpr int kRow = 3;  // taps of a row of the kernels below

// Of a row of three taps, weights 0, 1, 2 and a zero side by side for vpdpbusd: of channels in
// the order of unpacking, low and high.
void pack_row(const Depthwise &job, int row, __m512i *packed) {
  const int16_t *weights = job.weights + kRow * row * job.weight_stride;
  const __m512i byte = _mm512_set1_epi16(0xff);
  const __m512i first = _mm512_and_si512(_mm512_loadu_si512(weights), byte);
  const __m512i second =
      _mm512_slli_epi16(_mm512_loadu_si512(weights + job.weight_stride), 8);
  const __m512i third =
      _mm512_and_si512(_mm512_loadu_si512(weights + 2 * job.weight_stride), byte);
  const __m512i pairs = _mm512_or_si512(first, second);
  packed[0] = _mm512_unpacklo_epi16(pairs, third);
  packed[1] = _mm512_unpackhi_epi16(pairs, third);
}

// Kernels of 3 x 3. A pixel of x is widened once for the pixels of y that it is part of: bytes
// of neighbours side by side are pairs, and two pairs the three taps and a fourth times zero.
template <int kStride, int kPixels>
void three_by_three(const Depthwise &job, const __m512i *weights, int pixel) {
  constexpr int kRead = kStride * (kPixels - 1) + kRow;
  __m512i low[kPixels], high[kPixels];
  for (int p = 0; p < kPixels; ++p) low[p] = high[p] = _mm512_setzero_si512();
  const uint8_t *x = job.x + pixel * job.pixel_stride;
  const ptrdiff_t step = job.tap_offsets[1] - job.tap_offsets[0];
  for (int row = 0; row < kRow; ++row) {
    const uint8_t *from = x + job.tap_offsets[kRow * row];
    __m512i pairs[kRead];
    for (int i = 0; i < kRead; ++i) pairs[i] = widen(from + i * step);
    for (int i = 0; i + 1 < kRead; ++i) {
      if (kStride == 2 && i % 2 == 1) continue;
      pairs[i] = _mm512_or_si512(pairs[i], _mm512_slli_epi16(pairs[i + 1], 8));
    }
    for (int p = 0; p < kPixels; ++p) {
      const __m512i first = pairs[kStride * p], second = pairs[kStride * p + 2];
      low[p] = _mm512_dpbusd_epi32(low[p], _mm512_unpacklo_epi16(first, second),
                                   weights[2 * row]);
      high[p] = _mm512_dpbusd_epi32(high[p], _mm512_unpackhi_epi16(first, second),
                                    weights[2 * row + 1]);
    }
  }
  for (int p = 0; p < kPixels; ++p) store_sums(job, pixel + p, low[p], high[p]);
}

template <int kStride>
void rows_of_three(const Depthwise &job) {
  __m512i weights[2 * kRow];
  for (int row = 0; row < kRow; ++row) pack_row(job, row, weights + 2 * row);
  int pixel = 0;
  for (; pixel + 6 <= job.count; pixel += 6) three_by_three<kStride, 6>(job, weights, pixel);
  if (pixel + 4 <= job.count) {
    three_by_three<kStride, 4>(job, weights, pixel);
    pixel += 4;
  }
  for (; pixel < job.count; ++pixel) three_by_three<kStride, 1>(job, weights, pixel);
}

// Nine taps in three rows of the same distances.
bool has_rows_of_three(const Depthwise &job) {
  if (job.taps != kRow * kRow) return false;
  const ptrdiff_t *at = job.tap_offsets;
  const ptrdiff_t step = at[1] - at[0];
  for (int tap = 0; tap < kRow * kRow; tap += kRow) {
    if (at[tap + 1] - at[tap] != step || at[tap + 2] - at[tap + 1] != step) return false;
  }
  return true;
}

void depthwise(const Depthwise &job) {
  if (has_rows_of_three(job)) {
    const ptrdiff_t step = job.tap_offsets[1] - job.tap_offsets[0];
    if (job.pixel_stride == step) return rows_of_three<1>(job);
    if (job.pixel_stride == 2 * step) return rows_of_three<2>(job);
  }
  int pixel = 0;
  for (; pixel + 4 <= job.count; pixel += 4) depthwise_tile<4>(job, pixel);
  for (; pixel < job.count; ++pixel) depthwise_tile<1>(job, pixel);
}

}  // namespace

extern const Level kAvx512 = {"avx512", 4, 1, 0, 4, {12, 12, 8, 6}, choose, depthwise};

}  // namespace subbyte::conv_int8
