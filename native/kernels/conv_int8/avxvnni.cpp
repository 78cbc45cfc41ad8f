// int8 kernels for vpdpbusd in registers of 256 bits: of AVX-VNNI, and of AVX-512 with VNNI.
#include <immintrin.h>

#include <cstring>

#include "conv_int8/level.h"
#include "dot_products/avx2.h"

namespace subbyte::conv_int8 {
namespace {

using dot_products::multiply_add;

constexpr int kPixels = 6;
constexpr int kQuad = 4;
constexpr int kVectors = kChannels / 8;  // of sums of a depthwise pixel

__m256i load(const void *from) {
  return _mm256_loadu_si256(static_cast<const __m256i *>(from));
}

__m256i broadcast_quad(const uint8_t *x) {
  int32_t quad;
  std::memcpy(&quad, x, sizeof quad);
  return _mm256_set1_epi32(quad);
}

template <int kCount>
void accumulate(const Tile &tile) {
  __m256i low[kCount], high[kCount];
  for (int p = 0; p < kCount; ++p) {
    low[p] = load(tile.start);
    high[p] = load(tile.start + 8);
  }
  const auto *weights = static_cast<const __m256i *>(tile.weights);
  // There are taps and steps: with a loop that may run no time, GCC 12 keeps the sums in memory.
  int64_t tap = 0;
  do {
    const ptrdiff_t offset = tile.tap_offsets[tap];
    const uint8_t *x[kCount];
    for (int p = 0; p < kCount; ++p) x[p] = tile.pixels[p] + offset;
    int64_t step = 0;
    do {
      const __m256i first = _mm256_load_si256(weights), second = _mm256_load_si256(weights + 1);
      for (int p = 0; p < kCount; ++p) {
        const __m256i quad = broadcast_quad(x[p] + kQuad * step);
        low[p] = multiply_add(low[p], quad, first);
        high[p] = multiply_add(high[p], quad, second);
      }
      weights += 2;
    } while (++step < tile.steps);
  } while (++tap < tile.taps);
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

// Unpacking works in lanes of 128 bits: vector v has channels 4v to 4v + 3, and those 16 further.
int lane(int c) { return c % 16 / 4 * 8 + c / 16 * 4 + c % 4; }

// kVectors registers of the four taps of a channel side by side.
void load_quads(const uint8_t *x, const ptrdiff_t *at, __m256i *quads) {
  const __m256i first = load(x + at[0]), second = load(x + at[1]);
  const __m256i third = load(x + at[2]), fourth = load(x + at[3]);
  const __m256i low[2] = {_mm256_unpacklo_epi8(first, second), _mm256_unpacklo_epi8(third, fourth)};
  const __m256i high[2] = {_mm256_unpackhi_epi8(first, second),
                           _mm256_unpackhi_epi8(third, fourth)};
  quads[0] = _mm256_unpacklo_epi16(low[0], low[1]);
  quads[1] = _mm256_unpackhi_epi16(low[0], low[1]);
  quads[2] = _mm256_unpacklo_epi16(high[0], high[1]);
  quads[3] = _mm256_unpackhi_epi16(high[0], high[1]);
}

// The order of the channels to the order of the sums, and back.
__m256i load_start(const Depthwise &job, int v) {
  const auto *first = reinterpret_cast<const __m128i *>(job.start + 4 * v);
  const auto *second = reinterpret_cast<const __m128i *>(job.start + 4 * v + 16);
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(first)),
                                 _mm_loadu_si128(second), 1);
}

void store_sums(const __m256i *sums, int32_t *acc) {
  for (int v = 0; v < kVectors; v += 2) {
    auto *to = reinterpret_cast<__m256i *>(acc + 4 * v);
    _mm256_store_si256(to, _mm256_permute2x128_si256(sums[v], sums[v + 1], 0x20));
    _mm256_store_si256(to + 2, _mm256_permute2x128_si256(sums[v], sums[v + 1], 0x31));
  }
}

template <int kCount>
void depthwise_tile(const Depthwise &job, int pixel) {
  __m256i sums[kCount][kVectors];
  for (int v = 0; v < kVectors; ++v) {
    const __m256i start = load_start(job, v);
    for (int p = 0; p < kCount; ++p) sums[p][v] = start;
  }
  const uint8_t *x = job.x + pixel * job.pixel_stride;
  const char *weights = static_cast<const char *>(job.weights);
  const ptrdiff_t *at = job.tap_offsets;
  int64_t left = job.steps;
  do {
    for (int p = 0; p < kCount; ++p) {
      __m256i quads[kVectors];
      load_quads(x + p * job.pixel_stride, at, quads);
      for (int v = 0; v < kVectors; ++v) {
        sums[p][v] = multiply_add(sums[p][v], quads[v], load(weights + 32 * v));
      }
    }
    at += kQuad;
    weights += job.weight_stride;
  } while (--left > 0);
  for (int p = 0; p < kCount; ++p) store_sums(sums[p], job.acc + (pixel + p) * kChannels);
}

void depthwise(const Depthwise &job) {
  int pixel = 0;
  for (; pixel + 2 <= job.count; pixel += 2) depthwise_tile<2>(job, pixel);
  if (pixel < job.count) depthwise_tile<1>(job, pixel);
}

}  // namespace

extern const Level SUBBYTE_LEVEL = {
    SUBBYTE_LEVEL_NAME, kQuad, 1, 0, 1, {kPixels, 0, 0, 0}, choose, depthwise, kMostTaps, lane,
};

}  // namespace subbyte::conv_int8
