// GEMV kernels for AVX2, and its successors in 256 bits. Look-ups and sums as in
// conv_lut16/avx2.cpp: two groups a register, entries stored + 128.
//
// Unpacked weights are multiplied by `vpdpbusd` where the CPU has it. Else by `vpmaddubsw`, whose
// 16-bit sums of two products may saturate: x is taken apart into its even and its odd inputs, with
// zeros between, so that each is one product, at most 255 * 128.
#include <immintrin.h>

#include "dot_products/avx2.h"
#include "gemv/level.h"

namespace subbyte::gemv {
namespace {

using dot_products::add_even;
using dot_products::add_odd;

constexpr int kHalf = 32;  // bytes of a register: half a vector

int group_major(int o, int j) { return j * kLanes + o; }
int output_major(int o, int j) { return o * kQuad + j; }
// [outputs 0-7 | 8-15][groups 0 and 2 | 1 and 3][output][group]
int gain_lane(int o, int j) { return o / 8 * kHalf + j % 2 * 16 + o % 8 * 2 + j / 2; }

__m256i load(const void *from) {
  return _mm256_load_si256(static_cast<const __m256i *>(from));
}

__m256i nibble(__m256i v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }

void add_to(int32_t *acc, __m256i values) {
  auto *at = reinterpret_cast<__m256i *>(acc);
  _mm256_store_si256(at, _mm256_add_epi32(_mm256_load_si256(at), values));
}

// The levels of fields of half of kVectors vectors. Tables of Tile::levels are looked up with
// four bits.
template <int kBits>
struct Levels {
  static constexpr int kTables = 4 / kBits;
  __m256i table[kTables];

  explicit Levels(const int8_t *from) {
    for (int k = 0; k < kTables; ++k) {
      table[k] = _mm256_broadcastsi128_si256(
          _mm_load_si128(reinterpret_cast<const __m128i *>(from + k * kVectorBytes)));
    }
  }

  void expand(const uint8_t *fields, __m256i *to) const {
    if constexpr (kBits == 3) {
      __m256i v[3];
      for (int r = 0; r < 3; ++r) {
        v[r] = load(fields + r * kVectorBytes);
        expand_two(v[r], to + 2 * r);
      }
      const __m256i low = _mm256_set1_epi8(3), middle = _mm256_set1_epi8(0x0c);
      const __m256i high = _mm256_set1_epi8(0x30);
      const __m256i pair = _mm256_or_si256(
          _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(v[0], 6), low),
                          _mm256_and_si256(_mm256_srli_epi16(v[1], 4), middle)),
          _mm256_and_si256(_mm256_srli_epi16(v[2], 2), high));
      expand_two(pair, to + 6);
    } else {
      for (int r = 0; r < kBits; ++r) {
        const __m256i v = load(fields + r * kVectorBytes);
        const __m256i part[2] = {nibble(v), nibble(_mm256_srli_epi16(v, 4))};
        for (const __m256i &at : part) {
          for (int k = 0; k < kTables; ++k) *to++ = _mm256_shuffle_epi8(table[k], at);
        }
      }
    }
  }

  // Two fields of three bits; the table repeats, so a fourth bit does not matter.
  void expand_two(__m256i v, __m256i *to) const {
    to[0] = _mm256_shuffle_epi8(table[0], nibble(v));
    to[1] = _mm256_shuffle_epi8(table[0], nibble(_mm256_srli_epi16(v, 3)));
  }
};

// Both lanes' uint16 sums, of 8 outputs each, into 8 int32 sums.
void add_lanes(int32_t *acc, __m256i sums) {
  add_to(acc, _mm256_add_epi32(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(sums)),
                               _mm256_cvtepu16_epi32(_mm256_extracti128_si256(sums, 1))));
}

// Sums of bytes: of all 16-bit lanes, modulo 2^16, and of their high bytes. Both are exact for
// the 2 * kVectors * kChunk = 128 entries of a tile.
struct ByteSums {
  __m256i all, odd;

  void add(__m256i table, __m256i codes) {
    const __m256i entry = _mm256_shuffle_epi8(table, nibble(codes));
    all = _mm256_add_epi16(all, entry);
    odd = _mm256_add_epi16(odd, _mm256_srli_epi16(entry, 8));
  }

  void move_to(int32_t *acc) const {
    const __m256i even = _mm256_sub_epi16(all, _mm256_slli_epi16(odd, 8));
    add_lanes(acc, _mm256_unpacklo_epi16(even, odd));
    add_lanes(acc + 8, _mm256_unpackhi_epi16(even, odd));
  }
};

void lookup_plain(const Tile &tile) {
  ByteSums sums[kTileBlocks];
  for (ByteSums &sum : sums) sum.all = sum.odd = _mm256_setzero_si256();
  const uint8_t *from = tile.weights, *tables = tile.data;
  for (int64_t unit = tile.units; unit > 0; --unit, tables += kTableBytes) {
    for (int b = 0; b < kTileBlocks; ++b, from += kCodeBytes) {
      for (int at = 0; at < kCodeBytes; at += kHalf) {
        const __m256i codes = load(from + at);
        const uint8_t *table = tables + at / kVectorBytes * 2 * kVectorBytes + at % kVectorBytes;
        sums[b].add(load(table), codes);
        sums[b].add(load(table + kVectorBytes), _mm256_srli_epi16(codes, 4));
      }
    }
  }
  for (int b = 0; b < kTileBlocks; ++b) sums[b].move_to(tile.acc + b * kLanes);
}

// int16 sums of eight outputs of a vector, as int32: even outputs, then odd ones.
struct Products {
  __m256i even, odd;

  void add(__m256i entries, __m256i gains) {
    const __m256i products = _mm256_maddubs_epi16(entries, gains);
    even = add_even(even, products);
    odd = add_odd(odd, products);
  }

  // Interleave the outputs again and add the two lanes.
  void move_to(int32_t *acc) const {
    const __m256i low = _mm256_unpacklo_epi32(even, odd);
    const __m256i high = _mm256_unpackhi_epi32(even, odd);
    add_to(acc, _mm256_add_epi32(_mm256_permute2x128_si256(low, high, 0x20),
                                 _mm256_permute2x128_si256(low, high, 0x31)));
  }
};

template <int kBits>
void lookup_gain(const Tile &tile) {
  const Levels<kBits> levels(tile.levels);
  Products sums[kTileBlocks][2];
  for (auto &block : sums) {
    for (Products &sum : block) sum.even = sum.odd = _mm256_setzero_si256();
  }
  const uint8_t *from = tile.weights, *tables = tile.data;
  for (int64_t unit = tile.units; unit > 0; --unit, tables += kTableBytes) {
    for (int b = 0; b < kTileBlocks; ++b, from += kCodeBytes) {
      __m256i gain[2][kVectors];
      levels.expand(from, gain[0]);
      levels.expand(from + kHalf, gain[1]);
      from += kBits * kVectorBytes;
      for (int k = 0; k < kVectors; ++k) {
        const uint8_t *codes = from + k / 2 * kVectorBytes, *table = tables + k * kVectorBytes;
        __m256i first = load(codes), second = load(codes + kHalf);
        if (k % 2 == 1) {
          first = _mm256_srli_epi16(first, 4);
          second = _mm256_srli_epi16(second, 4);
        }
        first = _mm256_shuffle_epi8(load(table), nibble(first));
        second = _mm256_shuffle_epi8(load(table + kHalf), nibble(second));
        sums[b][0].add(_mm256_unpacklo_epi8(first, second), gain[0][k]);
        sums[b][1].add(_mm256_unpackhi_epi8(first, second), gain[1][k]);
      }
    }
  }
  for (int b = 0; b < kTileBlocks; ++b) {
    sums[b][0].move_to(tile.acc + b * kLanes);
    sums[b][1].move_to(tile.acc + b * kLanes + 8);
  }
}

// Four inputs, for every output.
struct Quad {
#if defined(__AVXVNNI__) || defined(__AVX512VNNI__)
  __m256i all;

  explicit Quad(int32_t x) : all(_mm256_set1_epi32(x)) {}

  __m256i add_products(__m256i sum, __m256i weights) const {
    return dot_products::multiply_add(sum, all, weights);
  }
#else
  __m256i even, odd;

  explicit Quad(int32_t x)
      : even(_mm256_set1_epi32(x & 0x00ff00ff)),
        odd(_mm256_set1_epi32(x & static_cast<int32_t>(0xff00ff00U))) {}

  __m256i add_products(__m256i sum, __m256i weights) const {
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i first = _mm256_maddubs_epi16(even, weights);
    const __m256i second = _mm256_maddubs_epi16(odd, weights);
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(first, ones));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(second, ones));
  }
#endif
};

template <int kBits>
void unpack(const Tile &tile) {
  const Levels<kBits> levels(tile.levels);
  const uint8_t *from = tile.weights, *x = tile.data;
  for (int64_t unit = tile.units; unit > 0; --unit) {
    int32_t inputs[kVectors];
    __builtin_memcpy(inputs, x, sizeof inputs);
    x += kUnit;
    for (int b = 0; b < kTileBlocks; ++b, from += kBits * kVectorBytes) {
      for (int half = 0; half < 2; ++half) {
        __m256i weight[kVectors], sum = _mm256_setzero_si256();
        levels.expand(from + half * kHalf, weight);
        for (int k = 0; k < kVectors; ++k) sum = Quad(inputs[k]).add_products(sum, weight[k]);
        add_to(tile.acc + b * kLanes + half * 8, sum);
      }
    }
  }
}

Accumulate choose_lookup(int bits, int) {
  static constexpr Accumulate kTiles[] = {lookup_plain, lookup_gain<1>, lookup_gain<2>,
                                          lookup_gain<3>, lookup_gain<4>};
  return kTiles[bits];
}

Accumulate choose_unpack(int bits, int) {
  static constexpr Accumulate kTiles[] = {unpack<2>, unpack<3>, unpack<4>};
  return kTiles[bits - 2];
}

}  // namespace

extern const Level SUBBYTE_LEVEL = {
    SUBBYTE_LEVEL_NAME,       1, false, group_major, gain_lane, output_major, choose_lookup,
    choose_unpack,
};

}  // namespace subbyte::gemv
