// Binary kernels for AVX-512 with VPOPCNTDQ: one register holds 64 channels of 8 outputs.
#include <immintrin.h>

#include "conv_binary/level.h"
#include "isa/cpu.h"

namespace subbyte::conv_binary {
namespace {

constexpr int kLanes = 8;
constexpr int kBlocks = 4;
constexpr int kRows = 6;  // times kBlocks counts, and the weights, in 32 registers

int word_bit(int o, int i) { return o * kWord + i; }

// Channels i .. i + 15 that exist.
__mmask16 existing(int64_t channels, int64_t i) {
  return static_cast<__mmask16>(channels - i >= kPartials ? 0xFFFF : (1 << (channels - i)) - 1);
}

// Partial sums l += l + 8, then 4, 2 and 1 apart.
float total(__m512 partial) {
  const __m256 eight =
      _mm256_add_ps(_mm512_castps512_ps256(partial), _mm512_extractf32x8_ps(partial, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

template <bool kBytes>
__m512 values_of(const Load &job, int64_t at, __mmask16 mask) {
  if (!kBytes) {
    const auto *x = static_cast<const float *>(job.x);
    return _mm512_add_ps(_mm512_maskz_loadu_ps(mask, x + at), _mm512_setzero_ps());
  }
  const auto *x = static_cast<const uint8_t *>(job.x);
  const __m512i wide = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, x + at));
  const __m512i centred = _mm512_maskz_sub_epi32(mask, wide, _mm512_set1_epi32(job.zero));
  return _mm512_cvtepi32_ps(centred);
}

template <bool kBytes>
void load_pixels(const Load &job) {
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    float *values = job.values + pixel * job.depth;
    __m512 partial = _mm512_setzero_ps();
    for (int64_t i = 0; i < job.depth; i += kPartials) {
      const __mmask16 mask = existing(job.channels, i);
      const __m512 v = values_of<kBytes>(job, pixel * job.x_step + i, mask);
      _mm512_store_ps(values + i, v);
      partial = _mm512_add_ps(partial, _mm512_abs_ps(v));
    }
    job.sums[pixel] = total(partial);
  }
}

void load(const Load &job) { job.bytes ? load_pixels<true>(job) : load_pixels<false>(job); }

void put(uint8_t *signs, int64_t i, __mmask16 bits) {
  const auto word = static_cast<uint16_t>(bits);
  __builtin_memcpy(signs + i / 8, &word, sizeof word);
}

__mmask16 negative(__m512 v) { return _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_LT_OQ); }

void clear_rest(uint8_t *signs, int64_t depth) {
  for (int64_t i = depth; i % kWord != 0; i += kPartials) put(signs, i, 0);
}

// The first order, which needs no sum. Behind the last channel values are zeros.
void first_order(const Binarize &job, const float *values, uint8_t *signs) {
  for (int64_t tap = 0; tap < job.taps; ++tap, signs += job.tap_bytes) {
    const float *v = values + job.offsets[tap];
    for (int64_t i = 0; i < job.depth; i += kPartials) {
      put(signs, i, negative(_mm512_load_ps(v + i)));
    }
    clear_rest(signs, job.depth);
  }
}

// The residual after `order` orders, its signs and the sum of its |values|.
float next_order(const Binarize &job, const float *values, int order, float beta,
                 uint8_t *signs) {
  const __m512 step = _mm512_set1_ps(beta);
  const bool last = order + 1 == job.order;
  __m512 partial = _mm512_setzero_ps();
  for (int64_t tap = 0; tap < job.taps; ++tap, signs += job.tap_bytes) {
    float *to = job.residual + tap * job.depth;
    const float *from = order == 1 ? values + job.offsets[tap] : to;
    for (int64_t i = 0; i < job.depth; i += kPartials) {
      const __mmask16 mask = existing(job.channels, i);
      const __m512 v = _mm512_load_ps(from + i);
      const __m512 r = _mm512_mask_add_ps(_mm512_sub_ps(v, step), negative(v), v, step);
      put(signs, i, static_cast<__mmask16>(negative(r) & mask));
      partial = _mm512_mask_add_ps(partial, mask, partial, _mm512_abs_ps(r));
      if (!last) _mm512_store_ps(to + i, r);
    }
    clear_rest(signs, job.depth);
  }
  return total(partial);
}

void binarize(const Binarize &job) {
  for (int64_t vector = 0; vector < job.count; ++vector) {
    const float *values = job.values + vector * job.step;
    uint8_t *signs = job.signs + vector * job.vector_bytes;
    first_order(job, values, signs);
    for (int k = 1; k < job.order; ++k) {
      float *sum = job.sums + k * job.sums_step + vector;
      const float beta =
          job.scales != nullptr ? job.scales[k - 1] : *(sum - job.sums_step) / job.size;
      *sum = next_order(job, values, k, beta, signs + k * job.order_bytes);
    }
  }
}

// Channels i .. i + 63 that exist.
__mmask64 existing_bytes(int64_t channels, int64_t i) {
  return channels - i >= kWord ? ~__mmask64{0} : (__mmask64{1} << (channels - i)) - 1;
}

int64_t total(__m512i sums) {
  const __m256i four =
      _mm256_add_epi64(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64(sums, 1));
  const __m128i two =
      _mm_add_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1));
  return _mm_cvtsi128_si64(_mm_add_epi64(two, _mm_unpackhi_epi64(two, two)));
}

void put_word(uint8_t *to, uint64_t word) { __builtin_memcpy(to, &word, sizeof word); }

template <bool kSizes>
void load_byte_pixels(const LoadBytes &job) {
  const __m512i zero = _mm512_set1_epi8(static_cast<char>(job.zero));
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    __m512i sums = _mm512_setzero_si512();
    for (int64_t i = 0; i < job.channels; i += kWord) {
      const __m512i x = _mm512_mask_loadu_epi8(zero, existing_bytes(job.channels, i),
                                               job.x + pixel * job.x_step + i);
      // One of the two is 0.
      const __m512i size =
          _mm512_or_si512(_mm512_subs_epu8(x, zero), _mm512_subs_epu8(zero, x));
      sums = _mm512_add_epi64(sums, _mm512_sad_epu8(size, _mm512_setzero_si512()));
      put_word(job.signs + pixel * job.signs_step + i / 8, _mm512_cmplt_epu8_mask(x, zero));
      if (kSizes) _mm512_store_si512(job.sizes + pixel * job.sizes_step + i, size);
    }
    job.sums[pixel] = static_cast<float>(total(sums));
  }
}

void load_bytes(const LoadBytes &job) {
  job.sizes != nullptr ? load_byte_pixels<true>(job) : load_byte_pixels<false>(job);
}

// A residual is size - beta, or beta - size where the value is negative: its sign is that of
// the other case turned, but for sizes that beta equals, whose residual has no sign.
template <bool kExact>
void split_vector(const SplitBytes &job, int64_t vector, int whole) {
  const __m512i bound = _mm512_set1_epi8(static_cast<char>(whole));
  // In variables of its own: signs may alias anything, so the compiler would otherwise load
  // what it needs of the job again after each store.
  const int64_t channels = job.channels;
  const __mmask64 last = existing_bytes(channels, (channels - 1) / kWord * kWord);
  const ptrdiff_t *offset = job.offsets, *const end = offset + job.taps;
  const uint8_t *const sizes = job.sizes + vector * job.step;
  const uint8_t *const first_signs = job.first_signs + vector * job.step;
  const ptrdiff_t order_bytes = job.order_bytes, tap_bytes = job.tap_bytes;
  uint8_t *signs = job.signs + vector * job.vector_bytes;
  __m512i excess = _mm512_setzero_si512();
  int64_t count = 0;
  for (; offset != end; ++offset, signs += tap_bytes) {
    for (int64_t i = 0; i < channels; i += kWord) {
      const __m512i size = _mm512_load_si512(sizes + *offset + i);
      uint64_t first;
      __builtin_memcpy(&first, first_signs + *offset + i / 8, sizeof first);
      const uint64_t above = _mm512_cmpgt_epu8_mask(size, bound);
      uint64_t second = ~(above ^ first);
      if (kExact) second &= ~(_mm512_cmpeq_epu8_mask(size, bound) & ~first);
      excess = _mm512_add_epi64(
          excess, _mm512_sad_epu8(_mm512_subs_epu8(size, bound), _mm512_setzero_si512()));
      count += __builtin_popcountll(above);
      put_word(signs + i / 8, first);
      put_word(signs + order_bytes + i / 8, i + kWord < channels ? second : second & last);
    }
  }
  job.excess[vector] = total(excess);
  job.above[vector] = count;
}

void split_bytes(const SplitBytes &job) {
  for (int64_t vector = 0; vector < job.count; ++vector) {
    const int whole = static_cast<int>(job.betas[vector]);
    if (static_cast<float>(whole) == job.betas[vector]) {
      split_vector<true>(job, vector, whole);
    } else {
      split_vector<false>(job, vector, whole);
    }
  }
}

__m512i broadcast_word(const uint8_t *x) {
  int64_t word;
  __builtin_memcpy(&word, x, sizeof word);
  return _mm512_set1_epi64(word);
}

// Counts are below 2^31: the low halves of two blocks make 16 integers.
void add_scaled(const Tile &tile, int row, int block, __m512i low, __m512i high) {
  const __m512i halves =
      _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512 count = _mm512_cvtepi32_ps(_mm512_permutex2var_epi32(low, halves, high));
  // size - 2 * count in one operation: all are integers of less than 2^24, so it is exact.
  const __m512 dot = _mm512_fnmadd_ps(_mm512_set1_ps(2), count, _mm512_set1_ps(tile.size));
  float *sums = tile.sums[row] + block * kLanes;
  const __m512 product = _mm512_mul_ps(_mm512_set1_ps(tile.scales[row]), dot);
  _mm512_storeu_ps(sums, _mm512_add_ps(_mm512_loadu_ps(sums), product));
}

void add_scaled(const Tile &tile, int row, int block, __m512i last) {
  const __m256 count = _mm256_cvtepi32_ps(_mm512_cvtepi64_epi32(last));
  const __m256 dot = _mm256_sub_ps(_mm256_set1_ps(tile.size), _mm256_add_ps(count, count));
  float *sums = tile.sums[row] + block * kLanes;
  const __m256 product = _mm256_mul_ps(_mm256_set1_ps(tile.scales[row]), dot);
  _mm256_storeu_ps(sums, _mm256_add_ps(_mm256_loadu_ps(sums), product));
}

template <int kBlockCount, int kRowCount>
void accumulate(const Tile &tile) {
  __m512i count[kRowCount][kBlockCount];
  for (int r = 0; r < kRowCount; ++r) {
    for (int b = 0; b < kBlockCount; ++b) count[r][b] = _mm512_setzero_si512();
  }
  const uint8_t *rows[kRowCount];
  for (int r = 0; r < kRowCount; ++r) rows[r] = tile.rows[r];
  const auto *weights = reinterpret_cast<const __m512i *>(tile.weights);
  const ptrdiff_t *offset = tile.offsets, *const end = offset + tile.steps;
  do {
    __m512i w[kBlockCount];
    for (int b = 0; b < kBlockCount; ++b) w[b] = _mm512_load_si512(weights + b);
    weights += kBlockCount;
    for (int r = 0; r < kRowCount; ++r) {
      const __m512i x = broadcast_word(rows[r] + *offset);
      for (int b = 0; b < kBlockCount; ++b) {
        const __m512i differ = _mm512_popcnt_epi64(_mm512_xor_si512(x, w[b]));
        count[r][b] = _mm512_add_epi64(count[r][b], differ);
      }
    }
  } while (++offset != end);
  for (int r = 0; r < kRowCount; ++r) {
    for (int b = 0; b + 2 <= kBlockCount; b += 2) {
      add_scaled(tile, r, b, count[r][b], count[r][b + 1]);
    }
    if (kBlockCount % 2 == 1) add_scaled(tile, r, kBlockCount - 1, count[r][kBlockCount - 1]);
  }
}

Accumulate choose(int blocks, int rows) {
  static constexpr Accumulate kTiles[kBlocks][kRows] = {
      {accumulate<1, 1>, accumulate<1, 2>, accumulate<1, 3>, accumulate<1, 4>, accumulate<1, 5>,
       accumulate<1, 6>},
      {accumulate<2, 1>, accumulate<2, 2>, accumulate<2, 3>, accumulate<2, 4>, accumulate<2, 5>,
       accumulate<2, 6>},
      {accumulate<3, 1>, accumulate<3, 2>, accumulate<3, 3>, accumulate<3, 4>, accumulate<3, 5>,
       accumulate<3, 6>},
      {accumulate<4, 1>, accumulate<4, 2>, accumulate<4, 3>, accumulate<4, 4>, accumulate<4, 5>,
       accumulate<4, 6>},
  };
  return kTiles[blocks - 1][rows - 1];
}

}  // namespace

extern const Level kAvx512 = {
    "avx512", 8, kLanes, kLanes * kWord / 8, kBlocks, kRows,
    word_bit, load, binarize, load_bytes, split_bytes, choose, isa::has_vpopcntdq,
};

}  // namespace subbyte::conv_binary
