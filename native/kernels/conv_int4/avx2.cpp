// Unpacking for AVX2 and its successors in 256 bits, to the weights that their int8 tiles multiply:
// of 16 bits without VNNI.
#include <immintrin.h>

#include "conv_int4/level.h"

namespace subbyte::conv_int4 {
namespace {

#if defined(__AVXVNNI__) || defined(__AVX512VNNI__)
using Weight = int8_t;
#else
using Weight = int16_t;
#endif

constexpr int kHalf = kVector / 2;

__m256i load(const uint8_t *from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
}

// 32 levels of the codes in the bits of `mask`.
void look_up(__m256i codes, __m256i mask, __m256i levels, Weight *to) {
  const __m256i bytes = _mm256_shuffle_epi8(levels, _mm256_and_si256(codes, mask));
  auto *at = reinterpret_cast<__m256i *>(to);
  if constexpr (sizeof(Weight) == 1) {
    _mm256_store_si256(at, bytes);
  } else {
    _mm256_store_si256(at, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(bytes)));
    _mm256_store_si256(at + 1, _mm256_cvtepi8_epi16(_mm256_extracti128_si256(bytes, 1)));
  }
}

void unpack_4(const uint8_t *codes, __m256i levels, Weight *to) {
  const __m256i mask = _mm256_set1_epi8(15);
  for (int j = 0; j < kVectors / 2; ++j, codes += kVector, to += 2 * kVector) {
    for (int half = 0; half < kVector; half += kHalf) {
      const __m256i pair = load(codes + half);
      look_up(pair, mask, levels, to + half);
      look_up(_mm256_srli_epi16(pair, 4), mask, levels, to + kVector + half);
    }
  }
}

void unpack_3(const uint8_t *codes, __m256i levels, Weight *to) {
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
  auto *to = static_cast<Weight *>(job.weights);
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

extern const Level SUBBYTE_LEVEL = {SUBBYTE_LEVEL_NAME, unpack, nullptr, add};

}  // namespace subbyte::conv_int4
