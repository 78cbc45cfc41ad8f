// For AVX-512. A table of 256 codes is two look-ups in 128 (VBMI).
#include <immintrin.h>

#include "elementwise/stages.h"

namespace subbyte::elementwise {
namespace {

constexpr int64_t kLanes = 64;

struct Table {
  __m512i part[4];
};

inline __m512i look_up(const Table &table, __m512i x) {
  const __m512i low = _mm512_permutex2var_epi8(table.part[0], x, table.part[1]);
  const __m512i high = _mm512_permutex2var_epi8(table.part[2], x, table.part[3]);
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high);
}

void map(const uint8_t *codes, const uint8_t *x, int64_t count, uint8_t *y) {
  Table table;
  for (int k = 0; k < 4; ++k) table.part[k] = _mm512_loadu_si512(codes + k * kLanes);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    _mm512_storeu_si512(y + i, look_up(table, _mm512_loadu_si512(x + i)));
  }
  if (i < count) {
    const auto rest = static_cast<__mmask64>((uint64_t{1} << (count - i)) - 1);
    _mm512_mask_storeu_epi8(y + i, rest, look_up(table, _mm512_maskz_loadu_epi8(rest, x + i)));
  }
}

}  // namespace

extern const Level kAvx512 = {"avx512", pairwise<false>, pairwise<true>, max_window,
                              average_window, map};

}  // namespace subbyte::elementwise
