// Unpacking for AVX-512 with VBMI. vpermb reads six bits of an index: tables of 64 bytes, one
// for each place of a code in a byte, spare masks and most shifts.
#include <immintrin.h>

#include <cstring>

#include "conv_int4/level.h"
#include "dot_products/avx512.h"

namespace subbyte::conv_int4 {
namespace {

using dot_products::multiply_add;

constexpr int kBlocks = 4;  // of conv_int8::kLanes outputs, of the tiles that unpack

// Levels by the lowest bits of an index, and by its bits 3-5.
struct Tables {
  __m512i low, high;
};

__m512i load(const uint8_t *from) { return _mm512_loadu_si512(from); }

// A unit is two steps of four blocks of outputs: its vectors 0 to 3, and the others. Neighbouring
// bytes leave bits above a code that is shifted: the tables do not read them.
template <int kBits>
void first_half(const uint8_t *codes, const Tables &tables, __m512i *weights) {
  for (int j = 0; j < 2; ++j) {
    const __m512i pair = load(codes + j * kVector);
    weights[2 * j] = _mm512_permutexvar_epi8(pair, tables.low);
    weights[2 * j + 1] = kBits == 4
                             ? _mm512_permutexvar_epi8(_mm512_srli_epi16(pair, 4), tables.low)
                             : _mm512_permutexvar_epi8(pair, tables.high);
  }
}

template <int kBits>
void second_half(const uint8_t *codes, const Tables &tables, __m512i *weights) {
  if (kBits == 4) {
    first_half<4>(codes + 2 * kVector, tables, weights);
    return;
  }
  const __m512i last = load(codes + 2 * kVector);
  weights[0] = _mm512_permutexvar_epi8(last, tables.low);
  weights[1] = _mm512_permutexvar_epi8(last, tables.high);
  // Bits 0 and 1 of the one, all others of the other.
  const __m512i two = _mm512_set1_epi8(3);
  constexpr int kSelect = 0xca;
  for (int k = 0; k < 2; ++k) {
    const __m512i lower = _mm512_srli_epi16(load(codes + k * kVector), 6);
    const __m512i third = k == 0 ? _mm512_srli_epi16(last, 4) : _mm512_srli_epi16(last, 5);
    const __m512i code = _mm512_ternarylogic_epi32(two, lower, third, kSelect);
    weights[2 + k] = _mm512_permutexvar_epi8(code, tables.low);
  }
}

Tables make_tables(const int8_t *levels) {
  Tables tables;
  tables.low =
      _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i *>(levels)));
  // Bytes 8 i .. 8 i + 7 are level i: a table of codes that begin at bit 3.
  const __m512i places = _mm512_set_epi64(
      0x0707070707070707, 0x0606060606060606, 0x0505050505050505, 0x0404040404040404,
      0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
  tables.high = _mm512_permutexvar_epi8(places, tables.low);
  return tables;
}

void store(const __m512i *weights, __m512i *to) {
  for (int b = 0; b < kBlocks; ++b) _mm512_store_si512(to + b, weights[b]);
}

template <int kBits>
void unpack_units(const Unpack &job) {
  const Tables tables = make_tables(job.levels);
  const uint8_t *codes = job.codes;
  auto *to = static_cast<__m512i *>(job.weights);
  for (int64_t unit = 0; unit < job.units; ++unit, to += kVectors, codes += kBits * kVector) {
    __m512i weights[kBlocks];
    first_half<kBits>(codes, tables, weights);
    store(weights, to);
    second_half<kBits>(codes, tables, weights);
    store(weights, to + kBlocks);
  }
}

void unpack(const Unpack &job) {
  if (job.bits == 4) {
    unpack_units<4>(job);
  } else {
    unpack_units<3>(job);
  }
}

// The int8 tile's loop, on weights that are still in registers.
template <int kPixels>
void multiply(const uint8_t *const *x, int64_t step, const __m512i *weights,
              __m512i acc[][kBlocks]) {
  for (int p = 0; p < kPixels; ++p) {
    int32_t quad;
    std::memcpy(&quad, x[p] + 4 * step, sizeof quad);
    const __m512i all = _mm512_set1_epi32(quad);
    for (int b = 0; b < kBlocks; ++b) acc[p][b] = multiply_add(acc[p][b], all, weights[b]);
  }
}

template <int kBits, int kPixels>
void accumulate(const conv_int8::Tile &tile, const Unpack &job) {
  const Tables tables = make_tables(job.levels);
  __m512i acc[kPixels][kBlocks];
  for (int p = 0; p < kPixels; ++p) {
    for (int b = 0; b < kBlocks; ++b) {
      acc[p][b] = _mm512_loadu_si512(tile.start + b * conv_int8::kLanes);
    }
  }
  const uint8_t *codes = job.codes;
  auto *to = static_cast<__m512i *>(job.weights);
  // There are taps and steps, and the loops say so: the sums stay in registers.
  int64_t tap = 0;
  do {
    const uint8_t *x[kPixels];
    for (int p = 0; p < kPixels; ++p) x[p] = tile.pixels[p] + tile.tap_offsets[tap];
    int64_t step = 0;
    do {
      __m512i weights[kBlocks];
      first_half<kBits>(codes, tables, weights);
      store(weights, to);
      multiply<kPixels>(x, step, weights, acc);
      second_half<kBits>(codes, tables, weights);
      store(weights, to + kBlocks);
      multiply<kPixels>(x, step + 1, weights, acc);
      to += kVectors;
      codes += kBits * kVector;
      step += 2;
    } while (step < tile.steps);
  } while (++tap < tile.taps);
  for (int p = 0; p < kPixels; ++p) {
    for (int b = 0; b < kBlocks; ++b) {
      _mm512_store_si512(tile.acc + (p * kBlocks + b) * conv_int8::kLanes, acc[p][b]);
    }
  }
}

template <int kBits>
Accumulate tile_of(int pixels) {
  static constexpr Accumulate kTiles[] = {accumulate<kBits, 1>, accumulate<kBits, 2>,
                                          accumulate<kBits, 3>, accumulate<kBits, 4>,
                                          accumulate<kBits, 5>, accumulate<kBits, 6>};
  return kTiles[pixels - 1];
}

Accumulate choose(int bits, int blocks, int pixels) {
  if (blocks != kBlocks) return nullptr;
  return bits == 4 ? tile_of<4>(pixels) : tile_of<3>(pixels);
}

void add(const int32_t *from, int64_t count, int32_t *to) {
  for (int64_t i = 0; i < count; i += 16) {
    const __m512i sum =
        _mm512_add_epi32(_mm512_load_si512(to + i), _mm512_load_si512(from + i));
    _mm512_store_si512(to + i, sum);
  }
}

}  // namespace

extern const Level kAvx512 = {"avx512", unpack, choose, add};

}  // namespace subbyte::conv_int4
