// Binary kernels for AVX2, which has no count of bits: the count of 4 signs that differ is looked
// up in a table of 16 that the 4 signs of x choose, by the 4 signs of w, for 32 outputs at once.
// That is one `vpshufb` and one addition for 128 products, where counting the bits of x ^ w
// with `vpshufb` takes 8 operations for 256.
//
// So signs are not stored in bits: a byte has 4 of x, times 16 as the distance of tables, and
// a byte 4 of w.
#include <immintrin.h>

#include "conv_binary/level.h"

namespace subbyte::conv_binary {
namespace {

constexpr int kLanes = 32;
constexpr int kBlocks = 2;
constexpr int kRows = 4;  // times kBlocks sums of bytes in 16 registers
constexpr int kNibbles = kWord / 4;

int nibble_bit(int o, int i) { return (i / 4 * kLanes + o) * 8 + i % 4; }

// counts[16 * x + w]: how many bits of x and w differ.
struct Table {
  alignas(64) uint8_t counts[256];

  constexpr Table() : counts() {
    for (int x = 0; x < 16; ++x) {
      for (int w = 0; w < 16; ++w) {
        for (int bit = 0; bit < 4; ++bit) {
          const int at = 16 * x + w;
          counts[at] = static_cast<uint8_t>(counts[at] + ((x ^ w) >> bit & 1));
        }
      }
    }
  }
};
constexpr Table kTable;

__m256 absolute(__m256 v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), v); }

__m256 negative(__m256 v) { return _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_LT_OQ); }

// Partial sums of 8 and 8: l += l + 8, then 4, 2 and 1 apart.
float total(__m256 low, __m256 high) {
  const __m256 eight = _mm256_add_ps(low, high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// All bits of the lanes l of 8 with i + l < channels.
__m256 existing(int64_t channels, int64_t i) {
  const int64_t left = channels - i;
  const __m256i count = _mm256_set1_epi32(left > 8 ? 8 : static_cast<int>(left));
  return _mm256_castsi256_ps(
      _mm256_cmpgt_epi32(count, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)));
}

// 8 values of a pixel that has them all.
template <bool kBytes>
__m256 values_of(const Load &job, int64_t at) {
  if (!kBytes) {
    const auto *x = static_cast<const float *>(job.x);
    return _mm256_add_ps(_mm256_loadu_ps(x + at), _mm256_setzero_ps());
  }
  const auto *x = static_cast<const uint8_t *>(job.x);
  const __m256i wide =
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(x + at)));
  const __m256i centred = _mm256_sub_epi32(wide, _mm256_set1_epi32(job.zero));
  return _mm256_cvtepi32_ps(centred);
}

float value_of(const Load &job, int64_t at) {
  if (!job.bytes) return static_cast<const float *>(job.x)[at] + 0.0F;
  return static_cast<float>(static_cast<const uint8_t *>(job.x)[at] - job.zero);
}

template <bool kBytes>
void load_pixels(const Load &job) {
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    float *values = job.values + pixel * job.depth;
    int64_t i = 0;
    for (; i + 8 <= job.channels; i += 8) {
      _mm256_store_ps(values + i, values_of<kBytes>(job, pixel * job.x_step + i));
    }
    for (; i < job.channels; ++i) values[i] = value_of(job, pixel * job.x_step + i);
    for (; i < job.depth; ++i) values[i] = 0;
    __m256 low = _mm256_setzero_ps(), high = low;
    for (i = 0; i < job.depth; i += kPartials) {
      low = _mm256_add_ps(low, absolute(_mm256_load_ps(values + i)));
      high = _mm256_add_ps(high, absolute(_mm256_load_ps(values + i + 8)));
    }
    job.sums[pixel] = total(low, high);
  }
}

void load(const Load &job) { job.bytes ? load_pixels<true>(job) : load_pixels<false>(job); }

// Signs of 8 channels: two bytes.
void put(uint8_t *signs, int64_t i, __m256 mask) {
  const int bits = _mm256_movemask_ps(mask);
  signs[i / 4] = static_cast<uint8_t>(bits << 4);
  signs[i / 4 + 1] = static_cast<uint8_t>(bits & 0xF0);
}

void clear_rest(uint8_t *signs, int64_t depth) {
  for (int64_t i = depth; i % kWord != 0; i += 8) put(signs, i, _mm256_setzero_ps());
}

// The first order, which needs no sum. Behind the last channel values are zeros.
void first_order(const Binarize &job, const float *values, uint8_t *signs) {
  for (int64_t tap = 0; tap < job.taps; ++tap, signs += job.tap_bytes) {
    const float *v = values + job.offsets[tap];
    for (int64_t i = 0; i < job.depth; i += 8) put(signs, i, negative(_mm256_load_ps(v + i)));
    clear_rest(signs, job.depth);
  }
}

// The residual after `order` orders, its signs and the sum of its |values|.
float next_order(const Binarize &job, const float *values, int order, float beta,
                 uint8_t *signs) {
  const __m256 step = _mm256_set1_ps(beta);
  __m256 partial[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int64_t tap = 0; tap < job.taps; ++tap, signs += job.tap_bytes) {
    float *to = job.residual + tap * job.depth;
    const float *from = order == 1 ? values + job.offsets[tap] : to;
    for (int64_t i = 0; i < job.depth; i += kPartials) {
      for (int half = 0; half < 2; ++half) {
        const int64_t at = i + 8 * half;
        const __m256 mask = existing(job.channels, at);
        const __m256 v = _mm256_load_ps(from + at);
        const __m256 r = _mm256_blendv_ps(_mm256_sub_ps(v, step), _mm256_add_ps(v, step),
                                          negative(v));
        put(signs, at, _mm256_and_ps(negative(r), mask));
        partial[half] = _mm256_add_ps(partial[half], _mm256_and_ps(absolute(r), mask));
        _mm256_store_ps(to + at, r);
      }
    }
    clear_rest(signs, job.depth);
  }
  return total(partial[0], partial[1]);
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

// 32 signs, from the lowest bit on, as 8 bytes of the layout above.
uint64_t spread(uint32_t bits) {
  uint64_t word = bits;
  word = (word | word << 16) & 0x0000FFFF0000FFFF;
  word = (word | word << 8) & 0x00FF00FF00FF00FF;
  word = (word | word << 4) & 0x0F0F0F0F0F0F0F0F;
  return word << 4;
}

// Bit l: channel i + l of 32 exists.
uint32_t existing_bytes(int64_t channels, int64_t i) {
  if (channels - i >= 32) return ~0U;
  return channels > i ? (1U << (channels - i)) - 1 : 0;
}

uint32_t mask_of(__m256i bytes) { return static_cast<uint32_t>(_mm256_movemask_epi8(bytes)); }

int64_t total(__m256i sums) {
  const __m128i two =
      _mm_add_epi64(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  return _mm_cvtsi128_si64(_mm_add_epi64(two, _mm_unpackhi_epi64(two, two)));
}

// 32 bytes, zeros of x behind the last channel.
__m256i read(const LoadBytes &job, const uint8_t *x, int64_t i, __m256i zero) {
  if (job.channels - i >= 32) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(x + i));
  }
  alignas(32) uint8_t bytes[32];
  _mm256_store_si256(reinterpret_cast<__m256i *>(bytes), zero);
  for (int64_t l = i; l < job.channels; ++l) bytes[l - i] = x[l];
  return _mm256_load_si256(reinterpret_cast<const __m256i *>(bytes));
}

void load_bytes(const LoadBytes &job) {
  const __m256i zero = _mm256_set1_epi8(static_cast<char>(job.zero)), none = _mm256_setzero_si256();
  const int64_t depth = (job.channels + kWord - 1) / kWord * kWord;
  for (int64_t pixel = 0; pixel < job.count; ++pixel) {
    __m256i sums = none;
    for (int64_t i = 0; i < depth; i += 32) {
      const __m256i x = read(job, job.x + pixel * job.x_step, i, zero);
      const __m256i below = _mm256_subs_epu8(zero, x);
      // One of the two is 0.
      const __m256i size = _mm256_or_si256(_mm256_subs_epu8(x, zero), below);
      const uint64_t signs = spread(~mask_of(_mm256_cmpeq_epi8(below, none)));
      __builtin_memcpy(job.signs + pixel * job.signs_step + i / 4, &signs, sizeof signs);
      sums = _mm256_add_epi64(sums, _mm256_sad_epu8(size, none));
      if (job.sizes != nullptr) {
        _mm256_store_si256(
            reinterpret_cast<__m256i *>(job.sizes + pixel * job.sizes_step + i), size);
      }
    }
    job.sums[pixel] = static_cast<float>(total(sums));
  }
}

// A residual is size - beta, or beta - size where the value is negative: its sign is that of
// the other case turned, but for sizes that beta equals, whose residual has no sign.
void split_vector(const SplitBytes &job, int64_t vector, int whole, bool exact) {
  const __m256i bound = _mm256_set1_epi8(static_cast<char>(whole)), none = _mm256_setzero_si256();
  const int64_t depth = (job.channels + kWord - 1) / kWord * kWord;
  __m256i excess = none;
  int64_t count = 0;
  for (int64_t tap = 0; tap < job.taps; ++tap) {
    const ptrdiff_t at = vector * job.step + job.offsets[tap];
    uint8_t *signs = job.signs + vector * job.vector_bytes + tap * job.tap_bytes;
    for (int64_t i = 0; i < depth; i += 32, signs += sizeof(uint64_t)) {
      const __m256i size = _mm256_load_si256(reinterpret_cast<const __m256i *>(job.sizes + at + i));
      const __m256i beyond = _mm256_subs_epu8(size, bound);
      const uint32_t above = ~mask_of(_mm256_cmpeq_epi8(beyond, none));
      uint64_t first;
      __builtin_memcpy(&first, job.first_signs + at + i / 4, sizeof first);
      uint64_t second = ~(spread(above) ^ first) & spread(existing_bytes(job.channels, i));
      if (exact) second &= ~(spread(mask_of(_mm256_cmpeq_epi8(size, bound))) & ~first);
      excess = _mm256_add_epi64(excess, _mm256_sad_epu8(beyond, none));
      count += __builtin_popcount(above);
      __builtin_memcpy(signs, &first, sizeof first);
      __builtin_memcpy(signs + job.order_bytes, &second, sizeof second);
    }
  }
  job.excess[vector] = total(excess);
  job.above[vector] = count;
}

void split_bytes(const SplitBytes &job) {
  for (int64_t vector = 0; vector < job.count; ++vector) {
    const int whole = static_cast<int>(job.betas[vector]);
    split_vector(job, vector, whole, static_cast<float>(whole) == job.betas[vector]);
  }
}

__m256i load_register(const void *from) {
  return _mm256_load_si256(static_cast<const __m256i *>(from));
}

// Bytes to 16 bits, 16 outputs each; both lanes interleave: outputs 0-7 and 16-23, 8-15 and 24-31.
void widen(__m256i to[2], __m256i bytes) {
  const __m256i zero = _mm256_setzero_si256();
  to[0] = _mm256_add_epi16(to[0], _mm256_unpacklo_epi8(bytes, zero));
  to[1] = _mm256_add_epi16(to[1], _mm256_unpackhi_epi8(bytes, zero));
}

void add_eight(int32_t *count, __m128i words) {
  auto *at = reinterpret_cast<__m256i *>(count);
  _mm256_store_si256(at, _mm256_add_epi32(_mm256_load_si256(at), _mm256_cvtepu16_epi32(words)));
}

void widen(int32_t *count, const __m256i words[2]) {
  add_eight(count, _mm256_castsi256_si128(words[0]));
  add_eight(count + 8, _mm256_castsi256_si128(words[1]));
  add_eight(count + 16, _mm256_extracti128_si256(words[0], 1));
  add_eight(count + 24, _mm256_extracti128_si256(words[1], 1));
}

void add_scaled(const Tile &tile, int row, int block, const int32_t *count) {
  const __m256 scale = _mm256_set1_ps(tile.scales[row]), size = _mm256_set1_ps(tile.size);
  for (int o = 0; o < kLanes; o += 8) {
    float *sums = tile.sums[row] + block * kLanes + o;
    const __m256 differ = _mm256_cvtepi32_ps(load_register(count + o));
    const __m256 dot = _mm256_sub_ps(size, _mm256_add_ps(differ, differ));
    _mm256_store_ps(sums, _mm256_add_ps(_mm256_load_ps(sums), _mm256_mul_ps(scale, dot)));
  }
}

// Words of which a byte holds the sum: at most 4 a nibble. And of which 16 bits do.
constexpr int64_t kByteWords = 255 / 4 / kNibbles;
constexpr int64_t kShortWords = 65535 / kWord / kByteWords * kByteWords;

template <int kBlockCount, int kRowCount>
void count_words(const Tile &tile, int64_t first, int64_t last,
                 __m256i words[kRowCount][kBlockCount][2]) {
  __m256i sum[kRowCount][kBlockCount];
  for (int r = 0; r < kRowCount; ++r) {
    for (int b = 0; b < kBlockCount; ++b) sum[r][b] = _mm256_setzero_si256();
  }
  const uint8_t *weights = tile.weights + first * kNibbles * kBlockCount * kLanes;
  for (int64_t step = first; step < last; ++step) {
    const uint8_t *rows[kRowCount];
    for (int r = 0; r < kRowCount; ++r) rows[r] = tile.rows[r] + tile.offsets[step];
    // A block has all nibbles of a word, then comes the next block.
    for (int nibble = 0; nibble < kNibbles; ++nibble, weights += kLanes) {
      __m256i w[kBlockCount];
      for (int b = 0; b < kBlockCount; ++b) w[b] = load_register(weights + b * kNibbles * kLanes);
      for (int r = 0; r < kRowCount; ++r) {
        const auto *table = reinterpret_cast<const __m128i *>(kTable.counts + rows[r][nibble]);
        const __m256i counts = _mm256_broadcastsi128_si256(_mm_load_si128(table));
        for (int b = 0; b < kBlockCount; ++b) {
          sum[r][b] = _mm256_add_epi8(sum[r][b], _mm256_shuffle_epi8(counts, w[b]));
        }
      }
    }
    weights += (kBlockCount - 1) * kNibbles * kLanes;
  }
  for (int r = 0; r < kRowCount; ++r) {
    for (int b = 0; b < kBlockCount; ++b) widen(words[r][b], sum[r][b]);
  }
}

template <int kBlockCount, int kRowCount>
void accumulate(const Tile &tile) {
  alignas(32) int32_t count[kRowCount][kBlockCount][kLanes] = {};
  for (int64_t first = 0; first < tile.steps; first += kShortWords) {
    const int64_t left = tile.steps - first;
    const int64_t last = first + (left < kShortWords ? left : kShortWords);
    __m256i words[kRowCount][kBlockCount][2];
    for (auto &row : words) {
      for (auto &block : row) block[0] = block[1] = _mm256_setzero_si256();
    }
    for (int64_t step = first; step < last; step += kByteWords) {
      const int64_t end = step + kByteWords < last ? step + kByteWords : last;
      count_words<kBlockCount, kRowCount>(tile, step, end, words);
    }
    for (int r = 0; r < kRowCount; ++r) {
      for (int b = 0; b < kBlockCount; ++b) widen(count[r][b], words[r][b]);
    }
  }
  for (int r = 0; r < kRowCount; ++r) {
    for (int b = 0; b < kBlockCount; ++b) add_scaled(tile, r, b, count[r][b]);
  }
}

Accumulate choose(int blocks, int rows) {
  static constexpr Accumulate kTiles[kBlocks][kRows] = {
      {accumulate<1, 1>, accumulate<1, 2>, accumulate<1, 3>, accumulate<1, 4>},
      {accumulate<2, 1>, accumulate<2, 2>, accumulate<2, 3>, accumulate<2, 4>},
  };
  return kTiles[blocks - 1][rows - 1];
}

}  // namespace

extern const Level SUBBYTE_LEVEL = {
    SUBBYTE_LEVEL_NAME, kNibbles, kLanes, kNibbles * kLanes, kBlocks, kRows,
    nibble_bit, load, binarize, load_bytes, split_bytes, choose,
};

}  // namespace subbyte::conv_binary
