// int8 kernels for AVX2: pairs of channels as 16-bit numbers, so that no sum saturates
// (vpmaddubsw would, at 255 * 127 * 2).
#include <immintrin.h>

#include <cstring>

#include "conv_int8/level.h"

namespace subbyte::conv_int8 {
namespace {

constexpr int kPixels = 6;

__m256i broadcast_pair(const uint8_t *x) {
  int32_t pair;
  std::memcpy(&pair, x, sizeof pair);
  return _mm256_set1_epi32(pair);
}

template <int kCount>
void accumulate(const Tile &tile) {
  const auto *start = reinterpret_cast<const __m256i *>(tile.start);
  __m256i low[kCount], high[kCount];
  for (int p = 0; p < kCount; ++p) {
    low[p] = _mm256_loadu_si256(start);
    high[p] = _mm256_loadu_si256(start + 1);
  }
  const auto *weights = static_cast<const __m256i *>(tile.weights);
  for (int64_t tap = 0; tap < tile.taps; ++tap) {
    const ptrdiff_t offset = tile.tap_offsets[tap];
    const uint8_t *x[kCount];
    for (int p = 0; p < kCount; ++p) x[p] = tile.pixels[p] + offset;
    for (int64_t step = 0; step < tile.steps; ++step, weights += 2) {
      const __m256i first = _mm256_load_si256(weights), second = _mm256_load_si256(weights + 1);
      for (int p = 0; p < kCount; ++p) {
        const __m256i pair = broadcast_pair(x[p] + 4 * step);
        low[p] = _mm256_add_epi32(low[p], _mm256_madd_epi16(pair, first));
        high[p] = _mm256_add_epi32(high[p], _mm256_madd_epi16(pair, second));
      }
    }
  }
  auto *acc = reinterpret_cast<__m256i *>(tile.acc);
  for (int p = 0; p < kCount; ++p) {
    _mm256_store_si256(acc + 2 * p, low[p]);
    _mm256_store_si256(acc + 2 * p + 1, high[p]);
  }
}

Accumulate choose(int, int pixels) {
  static constexpr Accumulate kTiles[kPixels] = {accumulate<1>, accumulate<2>, accumulate<3>,
                                                 accumulate<4>, accumulate<5>, accumulate<6>};
  return kTiles[pixels - 1];
}

__m256i widen(const uint8_t *x) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i *>(x)));
}

__m256i load(const Depthwise &job, int64_t tap, int c) {
  const char *step = static_cast<const char *>(job.weights) + tap * job.weight_stride;
  return _mm256_loadu_si256(
      reinterpret_cast<const __m256i *>(reinterpret_cast<const int16_t *>(step) + c));
}

// Sixteen channels: products of two taps at a time. Unpacking puts channels 0-3 and 8-11
// into the low sums, 4-7 and 12-15 into the high ones.
template <int kCount>
void sixteen_channels(const Depthwise &job, int pixel, int c) {
  __m256i low[kCount], high[kCount];
  for (int p = 0; p < kCount; ++p) low[p] = high[p] = _mm256_setzero_si256();
  const uint8_t *x = job.x + pixel * job.pixel_stride + c;
  for (int64_t tap = 0; tap < job.steps; tap += 2) {
    const __m256i w0 = load(job, tap, c), w1 = load(job, tap + 1, c);
    const __m256i w_low = _mm256_unpacklo_epi16(w0, w1), w_high = _mm256_unpackhi_epi16(w0, w1);
    for (int p = 0; p < kCount; ++p) {
      const uint8_t *at = x + p * job.pixel_stride;
      const __m256i x0 = widen(at + job.tap_offsets[tap]);
      const __m256i x1 = widen(at + job.tap_offsets[tap + 1]);
      low[p] = _mm256_add_epi32(low[p], _mm256_madd_epi16(_mm256_unpacklo_epi16(x0, x1), w_low));
      high[p] =
          _mm256_add_epi32(high[p], _mm256_madd_epi16(_mm256_unpackhi_epi16(x0, x1), w_high));
    }
  }
  const auto *start = reinterpret_cast<const __m256i *>(job.start + c);
  for (int p = 0; p < kCount; ++p) {
    auto *acc = reinterpret_cast<__m256i *>(job.acc + (pixel + p) * kChannels + c);
    const __m256i first = _mm256_permute2x128_si256(low[p], high[p], 0x20);
    const __m256i second = _mm256_permute2x128_si256(low[p], high[p], 0x31);
    _mm256_store_si256(acc, _mm256_add_epi32(first, _mm256_loadu_si256(start)));
    _mm256_store_si256(acc + 1, _mm256_add_epi32(second, _mm256_loadu_si256(start + 1)));
  }
}

void depthwise(const Depthwise &job) {
  for (int c = 0; c < kChannels; c += 16) {
    int pixel = 0;
    for (; pixel + 4 <= job.count; pixel += 4) sixteen_channels<4>(job, pixel, c);
    for (; pixel < job.count; ++pixel) sixteen_channels<1>(job, pixel, c);
  }
}

}  // namespace

extern const Level kAvx2 = {
    "avx2", 2, 2, 0, 1, {kPixels, 0, 0, 0}, choose, depthwise, 1, nullptr,
};

}  // namespace subbyte::conv_int8
