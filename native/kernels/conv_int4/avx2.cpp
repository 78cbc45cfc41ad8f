// Unpacking for AVX2, to the 16-bit weights that its int8 tiles multiply.
#include <immintrin.h>

#include "conv_int4/level.h"

namespace subbyte::conv_int4 {
namespace {

constexpr int kHalf = kVector / 2;

__m256i load(const uint8_t *from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
}

// 32 levels of the codes in the bits of `mask`, as int16.
void look_up(__m256i codes, __m256i mask, __m256i levels, int16_t *to) {
  const __m256i bytes = _mm256_shuffle_epi8(levels, _mm256_and_si256(codes, mask));
  auto *wide = reinterpret_cast<__m256i *>(to);
  _mm256_store_si256(wide, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(bytes)));
  _mm256_store_si256(wide + 1, _mm256_cvtepi8_epi16(_mm256_extracti128_si256(bytes, 1)));
}

void unpack_4(const uint8_t *codes, __m256i levels, int16_t *to) {
  const __m256i mask = _mm256_set1_epi8(15);
  for (int j = 0; j < kVectors / 2; ++j, codes += kVector, to += 2 * kVector) {
    for (int half = 0; half < kVector; half += kHalf) {
      const __m256i pair = load(codes + half);
      look_up(pair, mask, levels, to + half);
      look_up(_mm256_srli_epi16(pair, 4), mask, levels, to + kVector + half);
    }
  }
}

void unpack_3(const uint8_t *codes, __m256i levels, int16_t *to) {
  const __m256i mask = _mm256_set1_epi8(7);
  const __m256i two = _mm256_set1_epi8(3), third = _mm256_set1_epi8(4);
  for (int half = 0; half < kVector; half += kHalf) {
    __m256i bytes[3];
    for (int j = 0; j < 3; ++j) {
      bytes[j] = load(codes + j * kVector + half);
      look_up(bytes[j], mask, levels, to + 2 * j * kVector + half);
      look_up(_mm256_srli_epi16(bytes[j], 3), mask, levels, to + (2 * j + 1) * kVector + half);
    }
    const __m256i sixth =
        _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(bytes[0], 6), two),
                        _mm256_and_si256(_mm256_srli_epi16(bytes[2], 4), third));
    const __m256i seventh =
        _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(bytes[1], 6), two),
                        _mm256_and_si256(_mm256_srli_epi16(bytes[2], 5), third));
    look_up(sixth, mask, levels, to + 6 * kVector + half);
    look_up(seventh, mask, levels, to + 7 * kVector + half);
  }
}

void unpack(const Unpack &job) {
  const __m256i levels = _mm256_broadcastsi128_si256(
      _mm_loadu_si128(reinterpret_cast<const __m128i *>(job.levels)));
  const uint8_t *codes = job.codes;
  auto *to = static_cast<int16_t *>(job.weights);
  for (int64_t unit = 0; unit < job.units; ++unit, to += kUnit) {
    if (job.bits == 4) {
      unpack_4(codes, levels, to);
    } else {
      unpack_3(codes, levels, to);
    }
    codes += job.bits * kVector;
  }
}

void add(const int32_t *from, int64_t count, int32_t *to) {
  for (int64_t i = 0; i < count; i += 8) {
    auto *sum = reinterpret_cast<__m256i *>(to + i);
    const __m256i more = _mm256_load_si256(reinterpret_cast<const __m256i *>(from + i));
    _mm256_store_si256(sum, _mm256_add_epi32(_mm256_load_si256(sum), more));
  }
}

}  // namespace

extern const Level kAvx2 = {"avx2", unpack, nullptr, add};

}  // namespace subbyte::conv_int4
