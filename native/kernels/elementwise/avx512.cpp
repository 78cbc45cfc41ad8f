// For AVX-512: pairs of values are combined 64 at a time.
#include <immintrin.h>

#include "byte_table/avx512.h"
#include "elementwise/stages.h"

namespace subbyte::elementwise {
namespace {

constexpr int64_t kLanes = 64;

constexpr int kParts = 4;

// What does not change within a call. y may alias anything: these are in registers.
struct Constants {
  __m512i x_zero, r_zero, y_zero;
  __m512 x_factor, r_factor, high;
};

Constants constants(const Rows &job) {
  return {_mm512_set1_epi32(job.x_zero),
          _mm512_set1_epi32(job.r_zero),
          _mm512_set1_epi16(static_cast<int16_t>(job.y_zero)),
          _mm512_set1_ps(job.x_factor),
          _mm512_set1_ps(job.r_factor),
          _mm512_set1_ps(static_cast<float>(255 - job.y_zero))};
}

template <int kPart>
__m512 centre(__m512i bytes, __m512i zero) {
  const __m512i wide = _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(bytes, kPart));
  return _mm512_cvtepi32_ps(_mm512_sub_epi32(wide, zero));
}

// Sixty-four values of r, each less its zero.
struct Floats {
  __m512 part[kParts];
};

Floats centre_all(__m512i bytes, __m512i zero) {
  return {{centre<0>(bytes, zero), centre<1>(bytes, zero), centre<2>(bytes, zero),
           centre<3>(bytes, zero)}};
}

// As finish/avx512.cpp does: what is too small, and NaN, becomes the least integer, and the packs
// of such integers saturate.
template <bool kMul, int kPart>
__m512i combine(const Constants &c, __m512i x, const Floats &r) {
  const __m512 a = centre<kPart>(x, c.x_zero), b = r.part[kPart];
  const __m512 v = kMul ? _mm512_mul_ps(_mm512_mul_ps(a, b), c.x_factor)
                        : _mm512_add_ps(_mm512_mul_ps(a, c.x_factor), _mm512_mul_ps(b, c.r_factor));
  return _mm512_cvtps_epi32(_mm512_min_ps(c.high, v));
}

template <bool kMul>
__m512i sixty_four(const Constants &c, __m512i x, const Floats &r) {
  const __m512i low = _mm512_packs_epi32(combine<kMul, 0>(c, x, r), combine<kMul, 1>(c, x, r));
  const __m512i high = _mm512_packs_epi32(combine<kMul, 2>(c, x, r), combine<kMul, 3>(c, x, r));
  const __m512i bytes = _mm512_packus_epi16(_mm512_adds_epi16(low, c.y_zero),
                                            _mm512_adds_epi16(high, c.y_zero));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, bytes);
}

// Up to sixty-four columns of all rows: where r repeats, it is read once.
template <bool kMul>
void columns(const Rows &job, const Constants &c, int64_t first) {
  const int64_t count = job.count - first < kLanes ? job.count - first : kLanes;
  const __mmask64 mask = ~__mmask64{0} >> (kLanes - count);
  const bool one = job.r_step == 0, again = job.r_row != 0;
  const uint8_t *x = job.x + first, *r = job.r + (one ? 0 : first);
  uint8_t *y = job.y + first;
  const int64_t rows = job.rows, x_row = job.x_row, r_row = job.r_row, y_row = job.count;
  Floats b = {};
  for (int64_t row = 0; row < rows; ++row, x += x_row, r += r_row, y += y_row) {
    if (row == 0 || again) {
      const __m512i bytes =
          one ? _mm512_set1_epi8(static_cast<char>(*r)) : _mm512_maskz_loadu_epi8(mask, r);
      b = centre_all(bytes, c.r_zero);
    }
    if (count == kLanes) {
      _mm512_storeu_si512(y, sixty_four<kMul>(c, _mm512_loadu_si512(x), b));
    } else {
      _mm512_mask_storeu_epi8(y, mask, sixty_four<kMul>(c, _mm512_maskz_loadu_epi8(mask, x), b));
    }
  }
}

template <bool kMul>
void pairs(const Rows &job) {
  if (job.x_step != 1 || job.r_step > 1) return pairwise<kMul>(job);
  const Constants c = constants(job);
  for (int64_t first = 0; first < job.count; first += kLanes) columns<kMul>(job, c, first);
}

// A chunk of channels at once, however many they are.
void max_of_any(const Window &job) {
  const __mmask64 mask = ~__mmask64{0} >> (kChunk - job.channels);
  const int64_t rows = job.rows, columns = job.columns;
  const ptrdiff_t row_stride = job.row_stride, column_stride = job.column_stride;
  const uint8_t *first = job.x;
  uint8_t *y = job.y;
  for (int64_t left = job.count; left > 0; --left, first += job.x_step, y += job.y_step) {
    __m512i best = _mm512_setzero_si512();
    for (int64_t row = 0; row < rows; ++row) {
      const uint8_t *x = first + row * row_stride;
      for (int64_t column = 0; column < columns; ++column, x += column_stride) {
        best = _mm512_max_epu8(best, _mm512_maskz_loadu_epi8(mask, x));
      }
    }
    _mm512_mask_storeu_epi8(y, mask, best);
  }
}

void map(const uint8_t *codes, const uint8_t *x, int64_t count, uint8_t *y) {
  const byte_table::Table table = byte_table::load(codes);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    _mm512_storeu_si512(y + i, byte_table::look_up(table, _mm512_loadu_si512(x + i)));
  }
  if (i < count) {
    const auto rest = static_cast<__mmask64>((uint64_t{1} << (count - i)) - 1);
    const __m512i last = byte_table::look_up(table, _mm512_maskz_loadu_epi8(rest, x + i));
    _mm512_mask_storeu_epi8(y + i, rest, last);
  }
}

}  // namespace

extern const Level kAvx512 = {
    "avx512", pairs<false>, pairs<true>, max_of_any, average_window, map, shuffle,
};

}  // namespace subbyte::elementwise
