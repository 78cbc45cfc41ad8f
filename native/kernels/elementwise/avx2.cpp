// For AVX2. A table of 256 codes is sixteen shuffles of sixteen codes each.
#include <immintrin.h>

#include "elementwise/stages.h"

namespace subbyte::elementwise {
namespace {

constexpr int kLanes = 32, kHalf = 8;  // vectors of a table's half

// The entries of half a table at x, 0 where x has bit 7. A shuffle gives 0 there; x - 16 k
// saturates, so that bit 7 stays once it is set. With steps t0, t0 ^ t1, t1 ^ t2 ... the sum
// of all shuffles up to the first that gives 0 is the entry itself.
inline __m256i half_of(const __m256i *steps, __m256i x) {
  const __m256i sixteen = _mm256_set1_epi8(16);
  __m256i y = _mm256_shuffle_epi8(steps[0], x);
  for (int k = 1; k < kHalf; ++k) {
    x = _mm256_subs_epi8(x, sixteen);
    y = _mm256_xor_si256(y, _mm256_shuffle_epi8(steps[k], x));
  }
  return y;
}

void map(const uint8_t *table, const uint8_t *x, int64_t count, uint8_t *y) {
  __m256i steps[2 * kHalf];
  for (int k = 0; k < 2 * kHalf; ++k) {
    const auto *at = reinterpret_cast<const __m128i *>(table) + k;
    __m128i step = _mm_loadu_si128(at);
    if (k % kHalf != 0) step = _mm_xor_si128(step, _mm_loadu_si128(at - 1));
    steps[k] = _mm256_broadcastsi128_si256(step);
  }
  const __m256i top = _mm256_set1_epi8(-128);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(x + i));
    const __m256i found =
        _mm256_or_si256(half_of(steps, codes), half_of(steps + kHalf, _mm256_xor_si256(codes, top)));
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(y + i), found);
  }
  map_codes(table, x + i, count - i, y + i);
}

}  // namespace

extern const Level SUBBYTE_LEVEL = {
    SUBBYTE_LEVEL_NAME, pairwise<false>, pairwise<true>, max_window, average_window, map, shuffle,
};

}  // namespace subbyte::elementwise
