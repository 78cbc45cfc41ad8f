// Unpacking for AVX-512 with VBMI. vpermb reads six bits of an index: tables of 64 bytes, one
// for each place of a code in a byte, spare masks and most shifts.
#include <immintrin.h>

#include "unpack/level.h"

namespace subbyte::unpack {
namespace {

// Levels by the lowest bits of an index, and by its bits 3-5.
struct Tables {
  __m512i low, high;
};

__m512i load(const uint8_t *from) { return _mm512_loadu_si512(from); }

// Neighbouring bytes leave bits above the code: the tables do not read them.
void unpack_4(const uint8_t *codes, const Tables &tables, __m512i *to) {
  for (int j = 0; j < kVectors / 2; ++j) {
    const __m512i pair = load(codes + j * kVector);
    _mm512_store_si512(to + 2 * j, _mm512_permutexvar_epi8(pair, tables.low));
    const __m512i second = _mm512_srli_epi16(pair, 4);
    _mm512_store_si512(to + 2 * j + 1, _mm512_permutexvar_epi8(second, tables.low));
  }
}

void unpack_3(const uint8_t *codes, const Tables &tables, __m512i *to) {
  __m512i bytes[3];
  for (int j = 0; j < 3; ++j) {
    bytes[j] = load(codes + j * kVector);
    _mm512_store_si512(to + 2 * j, _mm512_permutexvar_epi8(bytes[j], tables.low));
    _mm512_store_si512(to + 2 * j + 1, _mm512_permutexvar_epi8(bytes[j], tables.high));
  }
  // Bits 0 and 1 of the one, all others of the other.
  const __m512i two = _mm512_set1_epi8(3);
  constexpr int kSelect = 0xca;
  const __m512i sixth = _mm512_ternarylogic_epi32(two, _mm512_srli_epi16(bytes[0], 6),
                                                  _mm512_srli_epi16(bytes[2], 4), kSelect);
  const __m512i seventh = _mm512_ternarylogic_epi32(two, _mm512_srli_epi16(bytes[1], 6),
                                                    _mm512_srli_epi16(bytes[2], 5), kSelect);
  _mm512_store_si512(to + 6, _mm512_permutexvar_epi8(sixth, tables.low));
  _mm512_store_si512(to + 7, _mm512_permutexvar_epi8(seventh, tables.low));
}

void unpack(const Unpack &job) {
  const __m128i levels = _mm_loadu_si128(reinterpret_cast<const __m128i *>(job.levels));
  Tables tables;
  tables.low = _mm512_broadcast_i32x4(levels);
  // Bytes 8 i .. 8 i + 7 are level i: a table of codes that begin at bit 3.
  const __m512i places = _mm512_set_epi64(
      0x0707070707070707, 0x0606060606060606, 0x0505050505050505, 0x0404040404040404,
      0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
  tables.high = _mm512_permutexvar_epi8(places, tables.low);
  const uint8_t *codes = job.codes;
  auto *to = static_cast<__m512i *>(job.weights);
  for (int64_t unit = 0; unit < job.units; ++unit, to += kVectors) {
    if (job.bits == 4) {
      unpack_4(codes, tables, to);
    } else {
      unpack_3(codes, tables, to);
    }
    codes += job.bits * kVector;
  }
}

void add(const int32_t *from, int64_t count, int32_t *to) {
  for (int64_t i = 0; i < count; i += 16) {
    const __m512i sum =
        _mm512_add_epi32(_mm512_load_si512(to + i), _mm512_load_si512(from + i));
    _mm512_store_si512(to + i, sum);
  }
}

}  // namespace

extern const Level kAvx512 = {"avx512", unpack, add};

}  // namespace subbyte::unpack
