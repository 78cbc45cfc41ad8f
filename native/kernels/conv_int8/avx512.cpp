// int8 kernels for AVX-512 with VNNI: vpdpbusd, four channels times sixteen outputs.
#include <immintrin.h>

#include <cstring>

#include "conv_int8/level.h"
#include "dot_products/avx512.h"

namespace subbyte::conv_int8 {
namespace {

using dot_products::multiply_add;

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
  const ptrdiff_t *offset = tile.tap_offsets, end = 4 * tile.steps;
  // There are taps and steps: with a loop that may run no time, GCC 12 keeps the sums in memory.
  int64_t taps = tile.taps;
  do {
    const uint8_t *x[kPixels];
    for (int p = 0; p < kPixels; ++p) x[p] = tile.pixels[p] + *offset;
    ++offset;
    ptrdiff_t at = 0;
    do {
      __m512i w[kBlocks];
      for (int b = 0; b < kBlocks; ++b) w[b] = _mm512_load_si512(weights + b);
      weights += kBlocks;
      for (int p = 0; p < kPixels; ++p) {
        const __m512i quad = broadcast_quad(x[p] + at);
        for (int b = 0; b < kBlocks; ++b) acc[p][b] = multiply_add(acc[p][b], quad, w[b]);
      }
      at += 4;
    } while (at != end);
  } while (--taps > 0);
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

// Unpacking works in lanes of 128 bits: channels 0-3, 8-11, 16-19 and 24-27 are in the low sums,
// the others in the high ones.
int lane(int c) { return c / 4 % 2 * 16 + c / 8 * 4 + c % 4; }

// The bytes of 32 channels at two taps, one behind the other.
__m512i load_pair(const uint8_t *first, const uint8_t *second) {
  const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(first));
  const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(second));
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// Where four taps of a channel lie in two pairs: of the channels of the low or the high sums.
struct Order {
  alignas(64) int8_t at[64];
};

constexpr Order quad_order(int half) {
  Order order = {};
  for (int i = 0; i < 16; ++i) {
    const int channel = i / 4 * 8 + half * 4 + i % 4;
    for (int tap = 0; tap < kMostTaps; ++tap) {
      order.at[4 * i + tap] = static_cast<int8_t>(tap * kChannels + channel);
    }
  }
  return order;
}

constexpr Order kQuads[2] = {quad_order(0), quad_order(1)};

// The order of the channels to the order of the sums, and back.
void load_start(const Depthwise &job, __m512i *low, __m512i *high) {
  const __m512i first = _mm512_loadu_si512(job.start);
  const __m512i second = _mm512_loadu_si512(job.start + 16);
  *low = _mm512_permutex2var_epi64(first, _mm512_setr_epi64(0, 1, 4, 5, 8, 9, 12, 13), second);
  *high = _mm512_permutex2var_epi64(first, _mm512_setr_epi64(2, 3, 6, 7, 10, 11, 14, 15), second);
}

void store_sums(__m512i low, __m512i high, int32_t *acc) {
  const __m512i order = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
  const __m512i rest = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  _mm512_store_si512(acc, _mm512_permutex2var_epi64(low, order, high));
  _mm512_store_si512(acc + 16, _mm512_permutex2var_epi64(low, rest, high));
}

// Four taps at a time: vpdpbusd on quads of bytes, gathered by vpermi2b.
template <int kPixels>
void any_taps(const Depthwise &job, int pixel) {
  const __m512i low_quads = _mm512_load_si512(kQuads[0].at);
  const __m512i high_quads = _mm512_load_si512(kQuads[1].at);
  __m512i low[kPixels], high[kPixels];
  load_start(job, low, high);
  for (int p = 1; p < kPixels; ++p) {
    low[p] = low[0];
    high[p] = high[0];
  }
  const uint8_t *x = job.x + pixel * job.pixel_stride;
  const char *weights = static_cast<const char *>(job.weights);
  const ptrdiff_t *at = job.tap_offsets;
  // There is a step: with a loop that may run no time, GCC 12 keeps the sums in memory.
  int64_t left = job.steps;
  do {
    const __m512i w_low = _mm512_load_si512(weights), w_high = _mm512_load_si512(weights + 64);
    for (int p = 0; p < kPixels; ++p) {
      const uint8_t *from = x + p * job.pixel_stride;
      const __m512i first = load_pair(from + at[0], from + at[1]);
      const __m512i second = load_pair(from + at[2], from + at[3]);
      low[p] = multiply_add(low[p], _mm512_permutex2var_epi8(first, low_quads, second), w_low);
      high[p] = multiply_add(high[p], _mm512_permutex2var_epi8(first, high_quads, second), w_high);
    }
    at += kMostTaps;
    weights += job.weight_stride;
  } while (--left > 0);
  int32_t *acc = job.acc + pixel * kChannels;
  for (int p = 0; p < kPixels; ++p) store_sums(low[p], high[p], acc + p * kChannels);
}

constexpr int kRow = 3;  // taps of a row of the kernels below

__m512i widen(const uint8_t *x) {
  return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(x)));
}

// Rows of three taps. A pixel of x is widened once for the pixels of y that it is part of: bytes
// of neighbours side by side are pairs, and two pairs the three taps and a fourth times zero.
template <int kStride, int kPixels>
void rows_of_three(const Depthwise &job, int pixel) {
  constexpr int kRead = kStride * (kPixels - 1) + kRow;
  __m512i low[kPixels], high[kPixels];
  load_start(job, low, high);
  for (int p = 1; p < kPixels; ++p) {
    low[p] = low[0];
    high[p] = high[0];
  }
  const uint8_t *x = job.x + pixel * job.pixel_stride;
  const char *weights = static_cast<const char *>(job.weights);
  const ptrdiff_t *at = job.tap_offsets;
  const ptrdiff_t next = at[1] - at[0];
  int64_t left = job.steps;
  do {
    const __m512i w_low = _mm512_load_si512(weights), w_high = _mm512_load_si512(weights + 64);
    __m512i pairs[kRead];
    for (int i = 0; i < kRead; ++i) pairs[i] = widen(x + at[0] + i * next);
    for (int i = 0; i + 1 < kRead; ++i) {
      if (kStride == 2 && i % 2 == 1) continue;
      pairs[i] = _mm512_or_si512(pairs[i], _mm512_slli_epi16(pairs[i + 1], 8));
    }
    for (int p = 0; p < kPixels; ++p) {
      const __m512i first = pairs[kStride * p], second = pairs[kStride * p + 2];
      low[p] = multiply_add(low[p], _mm512_unpacklo_epi16(first, second), w_low);
      high[p] = multiply_add(high[p], _mm512_unpackhi_epi16(first, second), w_high);
    }
    at += kMostTaps;
    weights += job.weight_stride;
  } while (--left > 0);
  int32_t *acc = job.acc + pixel * kChannels;
  for (int p = 0; p < kPixels; ++p) store_sums(low[p], high[p], acc + p * kChannels);
}

constexpr int kMostAtOnce = 6;  // pixels
using DepthwiseTile = void (*)(const Depthwise &, int);

constexpr DepthwiseTile kAnyTaps[kMostAtOnce] = {any_taps<1>, any_taps<2>, any_taps<3>,
                                                 any_taps<4>, any_taps<5>, any_taps<6>};
constexpr DepthwiseTile kRowsOfThree[2][kMostAtOnce] = {
    {rows_of_three<1, 1>, rows_of_three<1, 2>, rows_of_three<1, 3>, rows_of_three<1, 4>,
     rows_of_three<1, 5>, rows_of_three<1, 6>},
    {rows_of_three<2, 1>, rows_of_three<2, 2>, rows_of_three<2, 3>, rows_of_three<2, 4>,
     rows_of_three<2, 5>, rows_of_three<2, 6>}};

const DepthwiseTile *choose_depthwise(const Depthwise &job) {
  if (job.step_taps != kRow) return kAnyTaps;
  const ptrdiff_t next = job.tap_offsets[1] - job.tap_offsets[0];
  if (job.pixel_stride == next) return kRowsOfThree[0];
  return job.pixel_stride == 2 * next ? kRowsOfThree[1] : kAnyTaps;
}

// Tiles as even as they can be.
void depthwise(const Depthwise &job) {
  const DepthwiseTile *tiles = choose_depthwise(job);
  for (int left = (job.count + kMostAtOnce - 1) / kMostAtOnce, pixel = 0; left > 0; --left) {
    const int count = (job.count - pixel) / left;
    tiles[count - 1](job, pixel);
    pixel += count;
  }
}

}  // namespace

extern const Level kAvx512 = {
    "avx512", 4, 1, 0, 4, {12, 12, 8, 6}, choose, depthwise, kMostTaps, lane,
};

}  // namespace subbyte::conv_int8
