// A table of 256 bytes, looked up for 32 codes at a time: sixteen shuffles of sixteen codes each.
// Everything is in an unnamed namespace: no other file's copy can take its place (isa/sets.h.in).
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace subbyte::byte_table {
namespace {

constexpr int kLanes = 32, kHalf = 8;  // vectors of a table's half

// Steps t0, t0 ^ t1, t1 ^ t2 ... of each half, t being its sixteens of entries.
struct Table {
  __m256i step[2 * kHalf];
};

inline Table load(const uint8_t *bytes) {
  Table table;
  for (int k = 0; k < 2 * kHalf; ++k) {
    const auto *at = reinterpret_cast<const __m128i *>(bytes) + k;
    __m128i step = _mm_loadu_si128(at);
    if (k % kHalf != 0) step = _mm_xor_si128(step, _mm_loadu_si128(at - 1));
    table.step[k] = _mm256_broadcastsi128_si256(step);
  }
  return table;
}

// The entries of half a table at x, 0 where x has bit 7. A shuffle gives 0 there; x - 16 k
// saturates, so that bit 7 stays once it is set. The sum of all shuffles up to the first that
// gives 0 is the entry itself.
inline __m256i half_of(const __m256i *step, __m256i x) {
  const __m256i sixteen = _mm256_set1_epi8(16);
  __m256i y = _mm256_shuffle_epi8(step[0], x);
  for (int k = 1; k < kHalf; ++k) {
    x = _mm256_subs_epi8(x, sixteen);
    y = _mm256_xor_si256(y, _mm256_shuffle_epi8(step[k], x));
  }
  return y;
}

inline __m256i look_up(const Table &table, __m256i codes) {
  const __m256i upper = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
  return _mm256_or_si256(half_of(table.step, codes), half_of(table.step + kHalf, upper));
}

// y[i] = bytes[x[i]]; y may be x.
inline void map(const uint8_t *bytes, const Table &table, const uint8_t *x, int64_t count,
                uint8_t *y) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(x + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(y + i), look_up(table, codes));
  }
  for (; i < count; ++i) y[i] = bytes[x[i]];
}

}  // namespace
}  // namespace subbyte::byte_table
