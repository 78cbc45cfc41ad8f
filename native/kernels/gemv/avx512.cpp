// GEMV kernels for AVX-512 with VNNI and VBMI.
//
// `vpermb` takes six bits of an index and ignores the rest: a table of 64 bytes gives the level
// of a field at any of those bits, without a shift or a mask. `vpdpbusd` multiplies and adds, as
// in conv_lut16/avx512.cpp. Weights are read in the order in which they lie, which the CPU's own
// prefetching follows; fetching them early was slower.
#include <immintrin.h>

#include "dot_products/avx512.h"
#include "gemv/level.h"

namespace subbyte::gemv {
namespace {

using dot_products::multiply_add;

int output_major(int o, int j) { return o * kQuad + j; }

__m512i look_up(__m512i at, __m512i table) { return _mm512_permutexvar_epi8(at, table); }

// The levels of fields of kVectors vectors, from the tables of Tile::levels.
template <int kBits>
struct Levels {
  static constexpr int kTables = kLevelTables / kBits;
  __m512i table[kTables];

  explicit Levels(const int8_t *from) {
    for (int k = 0; k < kTables; ++k) table[k] = _mm512_load_si512(from + k * kVectorBytes);
  }

  void expand(const uint8_t *fields, __m512i *to) const {
    if constexpr (kBits == 3) {
      __m512i v[3];
      for (int r = 0; r < 3; ++r) {
        v[r] = _mm512_load_si512(fields + r * kVectorBytes);
        to[2 * r] = look_up(v[r], table[0]);
        to[2 * r + 1] = look_up(v[r], table[1]);
      }
      // The highest two bits of each: by the mask 3, then by 0x30, from the first or the other.
      const __m512i low = _mm512_ternarylogic_epi32(
          _mm512_set1_epi8(3), _mm512_srli_epi16(v[0], 6), _mm512_srli_epi16(v[1], 4), 0xCA);
      const __m512i pair = _mm512_ternarylogic_epi32(
          _mm512_set1_epi8(0x30), _mm512_srli_epi16(v[2], 2), low, 0xCA);
      to[6] = look_up(pair, table[0]);
      to[7] = look_up(pair, table[1]);
    } else {
      constexpr int kEach = 8 / kBits;
      for (int r = 0; r < kBits; ++r, to += kEach) {
        const __m512i v = _mm512_load_si512(fields + r * kVectorBytes);
        // As many fields as six bits hold, then the rest.
        for (int k = 0; k < kTables; ++k) to[k] = look_up(v, table[k]);
        const __m512i rest = _mm512_srli_epi16(v, kTables * kBits);
        for (int k = kTables; k < kEach; ++k) to[k] = look_up(rest, table[k - kTables]);
      }
    }
  }
};

template <>
struct Levels<0> {
  explicit Levels(const int8_t *) {}
  void expand(const uint8_t *, __m512i *) const {}
};

template <int kCount>
struct Sums {
  __m512i sum[kCount][kTileBlocks];

  explicit Sums(const int32_t *acc) {
    for (int r = 0; r < kCount; ++r) {
      for (int b = 0; b < kTileBlocks; ++b) {
        sum[r][b] = _mm512_load_si512(acc + r * kBlock + b * kLanes);
      }
    }
  }

  void store(int32_t *acc) const {
    for (int r = 0; r < kCount; ++r) {
      for (int b = 0; b < kTileBlocks; ++b) {
        _mm512_store_si512(acc + r * kBlock + b * kLanes, sum[r][b]);
      }
    }
  }
};

template <int kBits, int kCount>
void lookup(const Tile &tile) {
  const __m512i ones = _mm512_set1_epi8(1), bits = _mm512_set1_epi8(0x33);
  const __m512i groups = _mm512_set1_epi32(0x0c080400);  // 4j of the look-up level's table_lane
  const Levels<kBits> levels(tile.levels);
  Sums<kCount> sums(tile.acc);
  const uint8_t *from = tile.weights, *tables = tile.data;
  const ptrdiff_t stride = tile.data_stride;
  for (int64_t unit = tile.units; unit > 0; --unit, tables += kTableBytes) {
    for (int b = 0; b < kTileBlocks; ++b, from += kCodeBytes) {
      __m512i gain[kVectors];
      levels.expand(from, gain);
      from += kBits * kVectorBytes;
      for (int k = 0; k < kVectors; ++k) {
        const __m512i pair = _mm512_load_si512(from + k / 2 * kVectorBytes);
        const __m512i code = k % 2 == 0 ? pair : _mm512_srli_epi16(pair, 2);
        // (code & bits) | groups
        const __m512i at = _mm512_ternarylogic_epi32(code, bits, groups, 0xEA);
        for (int r = 0; r < kCount; ++r) {
          const __m512i table = _mm512_load_si512(tables + r * stride + k * kVectorBytes);
          const __m512i entry = look_up(at, table);
          sums.sum[r][b] = kBits > 0 ? multiply_add(sums.sum[r][b], entry, gain[k])
                                     : multiply_add(sums.sum[r][b], ones, entry);
        }
      }
    }
  }
  sums.store(tile.acc);
}

__m512i broadcast4(const uint8_t *x) {
  int32_t value;
  __builtin_memcpy(&value, x, sizeof value);
  return _mm512_set1_epi32(value);
}

template <int kBits, int kCount>
void unpack(const Tile &tile) {
  const Levels<kBits> levels(tile.levels);
  Sums<kCount> sums(tile.acc);
  const uint8_t *from = tile.weights, *x = tile.data;
  const ptrdiff_t stride = tile.data_stride;
  for (int64_t unit = tile.units; unit > 0; --unit, x += kUnit) {
    for (int b = 0; b < kTileBlocks; ++b, from += kBits * kVectorBytes) {
      __m512i weight[kVectors];
      levels.expand(from, weight);
      for (int k = 0; k < kVectors; ++k) {
        for (int r = 0; r < kCount; ++r) {
          const __m512i value = broadcast4(x + r * stride + k * kQuad);
          sums.sum[r][b] = multiply_add(sums.sum[r][b], value, weight[k]);
        }
      }
    }
  }
  sums.store(tile.acc);
}

template <int kBits>
Accumulate lookup_rows(int rows) {
  static constexpr Accumulate kTiles[] = {lookup<kBits, 1>, lookup<kBits, 2>, lookup<kBits, 3>,
                                          lookup<kBits, 4>};
  return kTiles[rows - 1];
}

Accumulate choose_lookup(int bits, int rows) {
  static constexpr Accumulate (*kBits[])(int) = {lookup_rows<0>, lookup_rows<1>, lookup_rows<2>,
                                                 lookup_rows<3>, lookup_rows<4>};
  return kBits[bits](rows);
}

template <int kBits>
Accumulate unpack_rows(int rows) {
  static constexpr Accumulate kTiles[] = {unpack<kBits, 1>, unpack<kBits, 2>, unpack<kBits, 3>,
                                          unpack<kBits, 4>};
  return kTiles[rows - 1];
}

Accumulate choose_unpack(int bits, int rows) {
  static constexpr Accumulate (*kBits[])(int) = {unpack_rows<2>, unpack_rows<3>, unpack_rows<4>};
  return kBits[bits - 2](rows);
}

}  // namespace

extern const Level kAvx512 = {
    "avx512",     4, true, output_major, output_major, output_major, choose_lookup,
    choose_unpack,
};

}  // namespace subbyte::gemv
